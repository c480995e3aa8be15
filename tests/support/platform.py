"""A stream of a test's own on the shared stack, and our services on it as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

from kafka import KafkaProducer

from clearwell.contract.load import find, find_file, version_of
from clearwell.contract.model import ARCHIVE, Contract
from clearwell.control.stages import Stages
from clearwell.errors import ClearwellError, Retryable
from clearwell.kafka import admin
from clearwell.kafka.clients import connect
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.names import (
    archive_group,
    clean_topic,
    cleaner_group,
    dead_letters_group,
    deliverer_group,
    raw_topic,
)
from clearwell.kafka.producer import EventProducer
from clearwell.privacy.key_file import LocalKeyring
from clearwell.reconciliation import Balance, balance
from clearwell.reconciliation.account_holders import RegisteredHolders
from clearwell.registry import Registry, contracts, jobs
from clearwell.registry.jobs import JobKind, JobSpec
from clearwell.settings import Settings
from tests.support.forked import ForkedProcess
from tests.support.publishing import forget_contract, publish_contract

FLIGHTS = Path(__file__).parents[2] / "schemas" / "flights" / "v1.yaml"
CHECKOUT = Path(__file__).parents[2]
PARTITIONS = 4


class Service:
    """One of our services as a process; its log is in `log`."""

    def __init__(self, name: str, arguments: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self.kind = (name, tuple(arguments))
        log.touch()
        self.process = _process(name, arguments, env, log)

    def kill(self) -> None:
        """SIGKILL, and wait for the end of it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def ended(self, within: float = 60.0) -> int:
        """Wait for the process to end by itself; returns the exit code."""
        return self.process.wait(within)

    def text(self) -> str:
        """All it has logged."""
        return self.log.read_text(errors="replace")


def _process(
    name: str, arguments: Sequence[str], env: dict[str, str], log: Path
) -> subprocess.Popen[bytes] | ForkedProcess:
    if "LD_PRELOAD" not in env:
        return ForkedProcess(name, arguments, env, log)
    with log.open("ab") as file:  # a library that a process loads first, it loads when it begins
        command = [sys.executable, "-m", f"services.{name}", *arguments]
        return subprocess.Popen(command, env=env, cwd=CHECKOUT, stdout=file, stderr=file)


class Platform:
    """One stream: a contract under a unique name, its topics, its key file, its processes."""

    def __init__(self, settings: Settings, folder: Path, stream: str, contract: str | None = None) -> None:
        """`contract` is YAML in which `$stream` stands for the stream's name; the flights contract by default."""
        text = contract if contract is not None else flights_contract()
        self.folder = folder
        self.stream = stream
        path = folder / "schemas" / stream / "v1.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text.replace("$stream", stream))
        self.contract_file = path
        keys = folder / "keys.json"
        self.keyring = LocalKeyring.create(keys)
        self.settings = replace(settings, schemas=folder / "schemas", keys=keys)
        self.ids = until(lambda: admin.ensure_topics(settings.kafka, stream, 1, partitions=PARTITIONS))
        with suppress(Retryable):  # where a test starts its own server later
            publish_contract(settings.postgres, path)
        self.services: list[Service] = []
        self.started: list[Service] = []

    @property
    def contract(self) -> Contract:
        """The contract as it is in its file now."""
        return find(self.settings.schemas, self.stream)

    def put(self, values: Iterable[bytes | None], partition: int | None = None) -> int:
        """Append raw events, spread over the partitions by content where none is given; returns how many."""
        return self.append(
            raw_topic(self.stream),
            ((value, [], spread(value) if partition is None else partition) for value in values),
        )

    def append(self, topic: str, records: Iterable[tuple[bytes | None, list[tuple[str, bytes]], int]]) -> int:
        """Append (value, headers, partition) to a topic of the stream, all acknowledged; returns how many."""
        events = list(records)
        if any(value is None for value, _, _ in events):
            return self._append_one_by_one(topic, events)
        by_partition: defaultdict[int, list[Record]] = defaultdict(list)
        for value, headers, partition in events:
            by_partition[partition].append(Record(None, value or b"", encode_headers(headers), b""))
        producer = EventProducer(self.settings.kafka, "test")
        try:
            sent = [producer.begin_at(topic, partition, some) for partition, some in by_partition.items()]
            for one in sent:
                one.wait()
        finally:
            producer.close()
        return len(events)

    def _append_one_by_one(self, topic: str, events: Iterable[tuple[bytes | None, Any, int]]) -> int:
        """As a producer that is not ours, which writes records without a value, too."""
        producer = connect(KafkaProducer, self.settings.kafka, linger_ms=20)
        try:
            futures = [
                producer.send(topic, value=value, key=b"k" if value is None else None, headers=headers, partition=at)
                for value, headers, at in events
            ]
            producer.flush()
            for future in futures:
                future.get(30)
        finally:
            producer.close()
        return len(futures)

    def start(self, name: str, *arguments: str, **env: str) -> Service:
        """Start a collector, a worker, or alone a cleaner, dead_letters, archiver or deliverer ("--destination", NAME).

        As a worker's, it has a name in its group, so that what comes after a killed or failed one takes the partitions
        back at once and not when Kafka has missed the other for ten seconds. A second beside it has none.
        """
        if name in ("collector", "worker"):
            return self._start(name, arguments, env)
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        to = options.get("--destination") or options.get("--to") or (ARCHIVE if name == "archiver" else "")
        version = int(options.get("--version", 0)) or None
        job = published_job(self.settings, JobKind(name), self.stream, version, to)
        return self._start("worker", ("--job", job), env, f"{name}{len(self.started)}")

    def start_worker(self, **env: str) -> Service:
        """Start a worker for all jobs of what CLEARWELL_STREAM names."""
        return self._start("worker", (), env)

    def _start(self, name: str, arguments: tuple[str, ...], env: dict[str, str], log_name: str = "") -> Service:
        working = [one for one in self.started if one.kind == (name, arguments) and one.process.poll() is None]
        log = self.folder / f"{log_name or name + str(len(self.started))}.log"
        service = Service(name, arguments, self.env() | ({} if working else {"CLEARWELL_WORKER": "w"}) | env, log)
        self.services.append(service)
        self.started.append(service)
        return service

    def env(self) -> dict[str, str]:
        """The environment of this stream's services."""
        folders = {"CLEARWELL_LAKE": self.settings.lake, "CLEARWELL_OFFLINE": self.settings.offline}
        return {
            **os.environ,
            "CLEARWELL_HOME": str(self.settings.home),
            "CLEARWELL_KAFKA": self.settings.kafka,
            "CLEARWELL_POSTGRES": self.settings.postgres,
            "CLEARWELL_MONGO": self.settings.mongo,
            "CLEARWELL_SCHEMAS": str(self.settings.schemas),
            "CLEARWELL_KEYS": str(self.settings.keys),
            **{name: folder for name, folder in folders.items() if folder is not None},
        }

    def balance(self) -> Balance:
        """The accounts of the stream now."""
        return balance(KafkaLog(self.settings.kafka), self.contract, RegisteredHolders(self.settings))

    def cleaned(self) -> int:
        """Records in the clean topic, repeats included."""
        return sum(admin.end_offsets(self.settings.kafka, clean_topic(self.stream, 1)).values())

    def only(self, destination: str) -> None:
        """Leave one route in the contract; to be called before anything is started."""
        lines = self.contract_file.read_text().splitlines()
        kept = [line for line in lines if "- {to: " not in line or f"to: {destination}" in line]
        self.contract_file.write_text("\n".join(kept) + "\n")

    def settle(self, within: float = 90.0) -> Balance:
        """Wait until nothing waits any more; returns the accounts. Needs a cleaner and every deliverer running."""
        stages = Stages(self.settings, self.contract)
        try:
            until(lambda: self._idle(stages), within, every=0.2)
        finally:
            stages.close()
        found = self.balance()
        assert found.settled, found
        return found

    def _idle(self, stages: Stages) -> bool:
        self.alive()
        try:
            source, *others = stages.counts()
            return source.done > 0 and not any(stage.lag for stage in others)
        except Retryable:  # Kafka is coming back
            return False

    def alive(self) -> None:
        """Fail with the log of a service that ended by itself."""
        for service in self.services:
            if service.process.poll() not in (None, 0, -signal.SIGKILL, -signal.SIGTERM):
                raise AssertionError(f"{service.log.name} ended: {service.text()[-3000:]}")

    def close(self) -> None:
        """End every process and delete the topics."""
        for service in self.services:
            if service.process.poll() is None:
                service.kill()
        with suppress(ClearwellError):  # where a test has ended its own server
            forget_contract(self.settings.postgres, self.stream)
        admin.delete_topics(self.settings.kafka, self.ids)


def spread(value: bytes | None) -> int:
    """The partition that an event goes to by the beginning of its content."""
    return crc32((value or b"")[:64]) % PARTITIONS


def flights_contract(features: bool = False) -> str:
    """The flights contract with `$stream` for its name, table, collection and, where it is wanted, feature view."""
    text = FLIGHTS.read_text()
    for key in ("stream", "table", "collection"):
        text = text.replace(f"{key}: flights", f"{key}: $stream")
    if features:
        return text.replace("features.carrier_delays", "features.$stream")
    view, after = text.index("  - to: features."), text.index("\nlimits:")
    return text[:view] + text[after:]


def published_job(settings: Settings, kind: JobKind, stream: str, version: int | None = None, to: str = "") -> str:
    """The name of a job, of a contract that is published as it is in its file now, broken or not."""
    file = find_file(settings.schemas, stream, version)
    text, version = file.read_text(), version_of(file)
    job = {
        JobKind.CLEANER: cleaner_group(stream, version),
        JobKind.DEAD_LETTERS: dead_letters_group(stream),
        JobKind.DELIVERER: deliverer_group(stream, version, to),
        JobKind.ARCHIVER: archive_group(stream, to),
    }[kind]
    with closing(Registry(settings.postgres)) as registry, registry.session() as session:
        known = contracts.newest(session, stream, version)
        revision = 0 if known is None else known.revision + (known.text != text)
        contracts.publish(session, stream, version, revision, text)
        jobs.ensure(session, JobSpec(job, job, kind, stream, version, revision, to))
    return job


def until(condition: Callable[[], Any], within: float = 60.0, every: float = 0.05) -> Any:
    """Wait for something to be true; returns it. A server that can't say just now is asked again.

    It is asked half of the time at most, so that a dear question does not hold up what it waits for.
    """
    deadline = time.monotonic() + within
    while True:
        asked, why = time.monotonic(), ""
        try:
            if found := condition():
                return found
        except Retryable as error:
            why = f": {error}"
        assert time.monotonic() < deadline, f"did not happen within {within} s{why}"
        time.sleep(max(every, time.monotonic() - asked))


def numbered(count: int, start: int = 0) -> Iterator[bytes]:
    """Good flight events with ids of their own."""
    for number in range(start, start + count):
        yield (
            b'{"id":"e%07d","year":2013,"month":%d,"day":%d,"dep_time":517,"sched_dep_time":515,"dep_delay":%d,'
            b'"arr_time":830,"sched_arr_time":819,"arr_delay":11,"carrier":"UA","flight":1545,"tailnum":"N%05d",'
            b'"origin":"EWR","dest":"IAH","air_time":227,"distance":1400,"hour":5,"minute":15,'
            b'"time_hour":"2013-01-01T10:00:00Z"}'
            % (number, number % 12 + 1, number % 28 + 1, number % 1000, number % 100_000)
        )

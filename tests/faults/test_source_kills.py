"""SIGKILL the collector at random moments, of every kind of source (invariant 1).

Nothing is lost, repeats are the same event with the same id, no position is ahead of Kafka, and `deduplicate` leaves
each event once, also when the cleaner is killed. CLEARWELL_KILLS: how often a collector is killed (100 is the proof;
then every kind is cleaned, too); CLEARWELL_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clearwell.contract.load import find
from clearwell.errors import Retryable
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, raw_topic
from clearwell.kafka.range_reader import reader
from clearwell.privacy.key_file import LocalKeyring
from clearwell.reconciliation import balance
from clearwell.reconciliation.account_holders import RegisteredHolders
from clearwell.records.clean import raw_identities
from clearwell.records.duplicates import Duplicates
from clearwell.registry import State, connectors
from clearwell.registry.jobs import JobKind
from clearwell.settings import Settings
from tests.support.collecting import Sandbox, header, until
from tests.support.feeds import PulledFeed, PushedFeed
from tests.support.forked import Forked
from tests.support.platform import Service, published_job

KINDS = (
    "file",
    "http_poll",
    "kafka",
    "mongo_changes",
    "mqtt",
    "postgres_cdc",
    "singer",
    "sql",
    "sse",
    "webhook",
    "websocket",
)
PROOF = "CLEARWELL_KILLS" in os.environ
KILLS = int(os.environ.get("CLEARWELL_KILLS", "3"))
CLEANED = KINDS if PROOF else ("file", "postgres_cdc")
LANES = {"kafka": 2}
PHASES = ("flow", "begin", "flow", "start")
Unique = Callable[[str], str]


class Trial:
    """One connector under fire: what is in its source, and what is in the raw topic."""

    def __init__(self, sandbox: Sandbox, kind: str, case: Any, name: str, chance: random.Random) -> None:
        self.sandbox, self.kind, self.case, self.name, self.chance = sandbox, kind, case, name, chance
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        pushed = kind == "webhook"
        self.feed: Any = (
            PushedFeed(case, self._port, f"/push/{name}", chance.randint)
            if pushed
            else PulledFeed(case, LANES.get(kind, 1))
        )
        self._events: dict[str, tuple[int, Any, Any, Any]] = {}
        self._ids: dict[int, str] = {}
        self.repeats = 0

    def start(self) -> Forked:
        """A collector that ends by itself where the source does."""
        options = ["--once"] if self.feed.finite else []
        return Forked(self.sandbox, self.name, *options, CLEARWELL_LISTEN=f"127.0.0.1:{self._port}")

    def kill_one(self, phase: str) -> bool:
        """Start a collector and kill it at a random moment, while events come in; whether it was in the middle.

        The moment is soon after its start, or after it has begun to read, or after events of its own are in Kafka.
        """
        self.feed.fill(self.chance.randint(200, 1_500))
        before = self._in_raw()
        collector = self.start()
        if phase != "start":
            collector.wait_until_begun()
        if phase == "flow":
            until(lambda: collector.ended() or self._in_raw() > before)
        end = time.monotonic() + self.chance.uniform(0, 0.3)
        while not collector.ended() and (left := end - time.monotonic()) > 0:
            self.feed.fill(self.chance.randint(1, 40))
            time.sleep(min(left, self.chance.uniform(0, 0.03)))
        alive = not collector.ended()
        collector.kill()
        return alive

    def _in_raw(self) -> int:
        return sum(admin.end_offsets(self.sandbox.settings.kafka, raw_topic(self.sandbox.stream)).values())

    def require_no_claim_ahead(self) -> None:
        """All that will not be read again is in Kafka."""
        connector, saved = self.sandbox.state(self.name)  # read before Kafka is: it must be there by then
        assert connector.state in (State.RUNNING, State.FINISHED), connector.last_error
        claimed = self.feed.claimed(saved.position)
        self.take()
        missing = claimed - self._ids.keys()
        assert not missing, f"The position is ahead of what Kafka holds: {sorted(missing)[:9]}."

    def take(self) -> int:
        """Look at the new raw records: a repeat is the same event in the same partition. The events there are."""
        for record in self.sandbox.new_records():
            event_id = header(record, "ce_id")
            assert event_id is not None
            event = (self.case.number(record.value), record.partition, record.key, record.value)
            self.repeats += event_id in self._events
            assert self._events.setdefault(event_id, event) == event, "A repeat is another event."
            assert self._ids.setdefault(event[0], event_id) == event_id, "A repeat has another id."
        return len(self._ids)

    def finish(self) -> None:
        """Read the rest in peace: every event is there."""
        collector = self.start()
        if self.feed.finite:
            assert collector.finish(60) == 0, collector.said()
        else:
            self.feed.settle()
            until(lambda: self.take() >= self.feed.filled, 60)
            collector.stop()
        self.take()
        assert set(self._ids) == set(range(self.feed.filled)), "Events were lost."

    def again(self) -> None:
        """The connector is to run, whether it had come to its end or not."""
        with self.sandbox.registry.session() as session:
            if connectors.get(session, self.name).state is State.FINISHED:
                connectors.restart(session, self.name)


@contextmanager
def trial(stack: Settings, folder: Path, unique: Unique, kind: str, chance: random.Random) -> Iterator[Trial]:
    """A connector of its own, over a case of its own."""
    sandbox = Sandbox(stack, unique("killed"), folder)
    LocalKeyring.create(folder / "keys.json")
    sandbox.settings = replace(sandbox.settings, keys=folder / "keys.json")
    contract = sandbox.settings.schemas / sandbox.stream / "v1.yaml"
    contract.write_text(contract.read_text() + "steps:\n  - deduplicate: {by: id, window: 500000}\n")
    admin.ensure_topics(stack.kafka, sandbox.stream, 1)
    case = importlib.import_module(f"tests.support.sources.{kind}").open_case(stack, folder, unique)
    one = Trial(sandbox, kind, case, sandbox.add(unique("c"), source=kind, **case.config), chance)
    try:
        yield one
    finally:
        if isinstance(one.feed, PushedFeed):
            one.feed.close()
        case.close()
        sandbox.close()


class Cleaning:
    """A cleaner of the stream, killed and started again in the middle of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._topic = clean_topic(sandbox.stream, 1)
        self._start()

    def replace(self) -> None:
        """Kill it once it has cleaned something, and start another."""
        until(lambda: not self._runs() or self._cleaned() > 0, 60)
        assert self._runs(), self._service.text()
        self._service.kill()
        self._start()

    def require_each_once(self, count: int) -> None:
        """Wait until it has cleaned everything; readers of the clean topic get each number from 0 once."""
        until(lambda: not self._runs() or self._settled(), 90)
        assert self._runs(), self._service.text()
        found = Counter(asyncio.run(_numbers(self._sandbox.settings.kafka, self._topic)))
        assert set(found) == set(range(count))
        assert max(found.values()) == 1, "Repeats are among the clean events."

    def close(self) -> None:
        """End it."""
        self._service.kill()

    def _start(self) -> None:
        sandbox = self._sandbox
        env = {**sandbox.environment(), "CLEARWELL_WORKER": "w"}
        job = published_job(sandbox.settings, JobKind.CLEANER, sandbox.stream)
        self._service = Service("worker", ["--job", job], env, sandbox.folder / "cleaner.log")

    def _runs(self) -> bool:
        return self._service.process.poll() is None

    def _settled(self) -> bool:
        where = self._sandbox.settings
        try:
            contract = find(where.schemas, self._sandbox.stream)
            found = balance(KafkaLog(where.kafka), contract, RegisteredHolders(where))
        except Retryable:  # the group of a cleaner that has just begun
            return False
        assert found.balanced or not found.settled, found
        return found.settled

    def _cleaned(self) -> int:
        return sum(admin.end_offsets(self._sandbox.settings.kafka, self._topic).values())


async def _numbers(kafka: str, topic: str) -> list[int]:
    """What readers of the clean topic get: the stretch that a killed cleaner has cleaned twice they tell by its place
    (invariant 3)."""
    found: list[int] = []
    async with reader(kafka) as log:
        for partition in range(admin.partition_count(kafka, topic)):
            repeats = Duplicates()
            async for records in log.records(topic, partition, 0, 10**9):
                new = compress(records, repeats.are_new(*raw_identities(records)))
                found += [msgspec.json.decode(record.value)["n"] for record in new]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments(stack: Settings, unique: Unique, tmp_path: Path, kind: str) -> None:
    seed = int(os.environ.get("CLEARWELL_SEED", random.randrange(10**9)))
    print(f"CLEARWELL_SEED={seed}")  # noqa: T201 - shown when the test fails
    with trial(stack, tmp_path, unique, kind, random.Random(seed)) as one:
        cleaning = Cleaning(one.sandbox) if kind in CLEANED else None
        try:
            interrupted = 0
            for kill in range(KILLS):
                interrupted += one.kill_one(PHASES[kill % len(PHASES)])
                one.require_no_claim_ahead()
                one.again()
                if cleaning is not None and kill == KILLS // 2:
                    cleaning.replace()
            one.finish()
            print(f"{interrupted} of {KILLS} kills in mid-run, {one.repeats} repeats")  # noqa: T201
            assert interrupted, "No kill came in time: give it more events."
            if cleaning is not None:
                cleaning.require_each_once(one.feed.filled)
        finally:
            if cleaning is not None:
                cleaning.close()

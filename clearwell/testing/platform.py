"""The platform of one contract in one process, without a server: what a contract does to events, in milliseconds."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from clearwell.backfill import replay
from clearwell.backfill.manifest import Manifest
from clearwell.backfill.plan import Bound, ReplayRequest, Workspace, choose_plan
from clearwell.collector.pump import Pump
from clearwell.collector.rate_limit import Bucket
from clearwell.collector.watch import Watch
from clearwell.contract.load import load
from clearwell.contract.model import CleanSchema, Contract, Route
from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.destinations.protocol import CleanBatch, Destination
from clearwell.kafka.message_format import encode_headers
from clearwell.kafka.names import clean_topic, cleaner_group, dead_topic, deliverer_group, dropped_topic, raw_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import compile
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.reconciliation import Balance, balance
from clearwell.records import dead_letter, dropped
from clearwell.records.source_events import RecordMaker
from clearwell.registry.positions import NOTHING, Counts
from clearwell.source import Source, SourcePosition
from clearwell.steps import bind
from clearwell.subscriptions.subscription import Subscription
from clearwell.testing.clock import Clock
from clearwell.testing.job_runner import run_job
from clearwell.testing.kills import Kills, ProcessKilled
from clearwell.testing.memory_holders import MemoryHolders
from clearwell.testing.memory_log import MemoryLog
from clearwell.testing.memory_partition import MemoryRecord
from clearwell.worker.cleaner import open_cleaner
from clearwell.worker.deliverer import open_deliverer
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.job import GetProducer, Job

Result = TypeVar("Result")
AnyEvent = Mapping[str, Any] | bytes | None
"""An event as a mapping, or the bytes that a source sent; None is a record without a value."""

BATCH = 500
"""Records that a service takes at once; less than in production, so that a few events already are several batches."""


BACKFILL_CHUNK = 1_000
"""Events of one file of a backfill."""

IDLE_SECONDS = 0.01
"""After which a loop over a subscription ends: what comes, comes at once."""


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A dead letter, opened. `event` is what came in; of an event that a destination refused, the clean event."""

    reason: str
    step: str
    field: str
    destination: str | None
    partition: int
    offset: int
    event: bytes


class TestPlatform:
    """A contract's stream: raw events go in, and after `run` are clean, delivered, dropped or dead.

    The code is that of the services; only the log, the stores and the keys are in memory. Nothing runs between calls,
    so that a test sees the same at each run. Each `run` is that of new processes: they begin where the last ones ended.
    """

    __test__ = False  # no tests of pytest's, in spite of its name

    def __init__(self, contract: Contract | Path | str, *, partitions: int = 2, clock: Clock | None = None) -> None:
        """`contract`, or its file. Raises ContractError as loading it does."""
        self.contract = contract if isinstance(contract, Contract) else load(Path(contract))
        self.log = MemoryLog(clock)
        self.clock = self.log.clock
        self.keyring = MemoryKeyring()
        self.schema = bind(self.contract).schema
        self.stores = {route.to: MemoryStore() for route in self.contract.routes}
        self.losses: list[tuple[str, int, int, int]] = []
        """Offsets that retention removed before a group read them: its name, partition, first, and before which."""
        self.positions: dict[str, SourcePosition] = {}
        """Where each connector goes on reading its source."""
        self._counts: dict[str, Counts] = {}
        self._kills = Kills()
        self._pipeline = compile(self.contract, self.keyring)
        self._destinations: dict[str, Callable[[], Destination]] = {}
        self.log.create_topics(self.contract.stream, self.contract.version, partitions)

    def deliver_into(self, to: str, make: Callable[[], Destination]) -> None:
        """Have the route to `to` deliver into a destination of yours; `make` is asked for it at each run."""
        self._destinations[self.contract.route(to).to] = make

    def put(self, *events: AnyEvent, partition: int = 0) -> int:
        """Append raw events to a partition; returns how many."""
        values = [event if isinstance(event, bytes | None) else msgspec.json.encode(event) for event in events]
        producer = self.log.producer("test")
        headers = encode_headers([])
        records: list[Any] = [(None, value, headers, b"") for value in values]
        return len(producer.begin_at(raw_topic(self.contract.stream), partition, records).offsets())

    def collect(self, source: Source, connector: str = "test", seconds: float | None = None) -> bool:
        """Read a source into raw, as a collector does, from where the last call for that connector ended, and close it.

        Returns whether it is exhausted; one that is not is stopped after so many `seconds`. Raises as the source.
        """

        async def collecting() -> bool:
            stop = asyncio.Event()
            if seconds is not None:
                asyncio.get_running_loop().call_later(seconds, stop.set)
            maker = RecordMaker(connector, self.contract, source.id_fields, lambda: self.keyring)
            topic, producer = raw_topic(self.contract.stream), self.log.producer("test")
            pump = Pump(source, maker, producer, topic, save, Bucket(None), Watch())
            try:
                return await pump.run(self.positions.get(connector), stop)
            finally:
                await source.close()

        def save(position: SourcePosition | None, counts: Counts) -> None:
            self._counts[connector] = self._counts.get(connector, NOTHING) + counts
            if position is not None:
                self.positions[connector] = position

        return wait_for(collecting())

    def run(self, batch_size: int = BATCH) -> None:
        """Clean and deliver all that has come. Raises Fatal as a service that ends does."""
        self.clean(batch_size)
        for route in self.contract.routes:
            self.deliver(route.to, batch_size)

    def run_with_kills(self, seed: int, rate: float = 0.1, batch_size: int = BATCH) -> int:
        """As `run`, while services are killed at random, before or after what they write; returns how often.

        Each time they begin anew, until all is done. `rate` is how likely a write or a commit is a process's last act.
        """
        self._kills = Kills(seed, rate)
        while True:
            try:
                self.run(batch_size)
            except ProcessKilled:
                continue
            count, self._kills = self._kills.count, Kills()
            return count

    def clean(self, batch_size: int = BATCH) -> None:
        """As a cleaner: until all raw events are clean, dropped or dead."""

        async def make(producer: GetProducer) -> Job:
            group = cleaner_group(self.contract.stream, self.contract.version)
            work = open_cleaner(
                self.log, self._pipeline, self.keyring, _stop_nobody, self._note_loss_of(group), producer
            )
            return Job(self.log, group, work.identity, work.positions, work)

        wait_for(run_job(self.log, make, batch_size, self._kills))

    def deliver(self, to: str, batch_size: int = BATCH) -> None:
        """As the deliverer of one route: until the store has all clean events that it wants."""
        route = self.contract.route(to)
        with closing(DestinationThread(self._destination(route))) as thread:

            async def make(producer: GetProducer) -> Job:
                group = deliverer_group(self.contract.stream, self.contract.version, to)
                note = self._note_loss_of(group)
                work = await open_deliverer(self.log, self.contract, route, self.keyring, thread, note, producer)
                return Job(self.log, group, work.identity, work.positions, work)

            wait_for(run_job(self.log, make, batch_size, self._kills))

    def subscription(self, name: str, *, fields: Sequence[str] = (), max_rows: int = BATCH) -> Subscription:
        """Follow the clean topic as a model; the loop ends when it has all that is there. Close it, or use `with`.

        What the model has not committed, the next one of that name gets again. Raises ConfigError for a wrong field.
        """
        return Subscription(
            name, self.log, CleanCodec(self.schema), fields=fields, max_rows=max_rows, idle=IDLE_SECONDS
        )

    def backfill(self, into: Path, start: Bound | None = None, end: Bound | None = None) -> Manifest:
        """Write the training set of a range of raw, as files of Parquet; returns its manifest. The same again is done.

        None is the oldest and the newest event. Raises ConfigError and Retryable as a backfill does.
        """
        version, source = self.contract.version, self._pipeline.source.encode()
        contract = hashlib.sha256(source).hexdigest()
        request = ReplayRequest(self.contract.stream, version, contract, start, end, BACKFILL_CHUNK)
        plan = choose_plan(self.log, request, Workspace("", "", "", str(into.absolute())))

        async def writing() -> Manifest:
            made, _ = await asyncio.to_thread(replay.run, plan, self.log, lambda: self._pipeline, lambda _: None)
            return made

        return wait_for(writing())

    def rows(self, to: str) -> list[dict[str, Any]]:
        """What the store of a route holds, in the order of its keys."""
        return [row for _, (_, row) in sorted(self.stores[to].rows.items(), key=lambda item: str(item[0]))]

    def clean_events(self) -> list[dict[str, Any]]:
        """All records of the clean topic, by partition; a service that was killed may have left some twice."""
        topic = clean_topic(self.contract.stream, self.contract.version)
        return [msgspec.json.decode(record.value or b"") for record in self._records(topic)]

    def rejected(self) -> list[RejectedEvent]:
        """All dead letters, opened."""
        return [self._open(record) for record in self._records(dead_topic(self.contract.stream))]

    def dropped(self) -> dict[str, int]:
        """How many events each rule has dropped: "<number>.<step name>" → offsets."""
        rules = {}
        for partition, record in self._placed(dropped_topic(self.contract.stream)):
            for rule, offsets in dropped.decode(record.value or b"").rules.items():
                rules.update({(partition, offset): rule for offset in offsets})
        return dict(Counter(rules.values()))

    def balance(self) -> Balance:
        """The accounts of the stream: of each source, partition and destination, as `clearwell balance` shows them."""
        holders = MemoryHolders(self._counts, self._destination)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(balance, self.log, self.contract, holders).result()

    def _destination(self, route: Route) -> Destination:
        if route.to in self._destinations:
            return self._destinations[route.to]()
        group = deliverer_group(self.contract.stream, self.contract.version, route.to)
        return _Destination(self.stores[route.to], self.schema, group, self._kills)

    def _note_loss_of(self, group: str) -> Callable[[int, int, int], None]:
        return lambda partition, first, end: self.losses.append((group, partition, first, end))

    def _open(self, record: MemoryRecord) -> RejectedEvent:
        letter = dead_letter.read(record.headers)
        event = dead_letter.open_event(self.keyring, letter, (record.value or b"").decode("ascii"))
        return RejectedEvent(
            *(letter.reason, letter.step, letter.field, letter.destination or None),
            *(letter.raw_partition, letter.raw_offset, event),
        )

    def _records(self, topic: str) -> Iterable[MemoryRecord]:
        return [record for _, record in self._placed(topic)]

    def _placed(self, topic: str) -> Iterable[tuple[int, MemoryRecord]]:
        for number, partition in enumerate(self.log.topic(topic).partitions):
            for record in partition.read(0, partition.end, partition.end):
                yield number, record


class _Destination(MemoryDestination):
    """Of a deliverer that may be killed before or after it writes."""

    def __init__(self, store: MemoryStore, schema: CleanSchema, group: str, kills: Kills) -> None:
        super().__init__(store, schema, group)
        self._kills = kills

    def write(self, batch: CleanBatch) -> None:
        self._kills.around("write", lambda: super(_Destination, self).write(batch))


async def _stop_nobody(connector: str, reason: str) -> bool:
    return False


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a thread of its own, since the caller's may be running a loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()

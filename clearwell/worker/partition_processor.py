"""The batches of each partition in order, a few in flight, each acknowledged only when all it produced is durable."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from clearwell.backoff import retry_until_available_async
from clearwell.errors import Fatal
from clearwell.kafka.lineage import Lineage
from clearwell.worker.in_flight_limit import InFlightLimit
from clearwell.worker.job_meters import JobMeter

IN_FLIGHT = 3
"""Batches of one partition that may wait for durability at once (measured: 114k/s with one, 171k/s with three)."""

MOST_RECORDS = 16_000
"""Records of all partitions that may wait for durability at once: a store that is slow decides how much of them is in
memory, not the number of partitions."""


@dataclass(frozen=True, slots=True)
class FetchedBatch:
    """Consecutively fetched records (`clearwell.kafka.plain_records`) of one partition, in offset order, never none."""

    partition: int
    generation: int
    records: list[Any]

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return int(self.records[0].offset)

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return int(self.records[-1].offset)


class BatchWork(Protocol):
    """What a service does with batches."""

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """A partition starts (again) at offset `first`: rebuild what is remembered about it."""

    async def skip(self, partition: int, expected: int, first: int) -> None:
        """Offsets [expected, first) of a partition under way held nothing: retention took them, or they are no events.

        To be called before the batch that begins at `first` is handled.
        """

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        """Do the work and start its effects, in order; what is returned completes when they are durable.

        The records are taken out of the batch once this has returned: they would be kept until then for nothing.
        """


class TakenBatch(NamedTuple):
    """What is known of a batch after its records are gone; `newest` is the last one's time (ms), `began` monotonic."""

    partition: int
    next_offset: int
    events: int
    newest: int
    began: float


@dataclass(slots=True)
class PartitionState:
    """The state of one partition. `next` is the offset expected next; -1 before the first batch."""

    generation: int = -1
    next: int = -1
    pending: deque[asyncio.Task[None]] = field(default_factory=deque)


class PartitionProcessor:
    """Drives a BatchWork over a Faust stream with one agent instance a partition."""

    def __init__(
        self,
        work: BatchWork,
        fail: Callable[[BaseException], None],
        lineage: Lineage | None = None,
        meter: JobMeter | None = None,
    ) -> None:
        """`fail` ends the process; after it nothing is acknowledged any more. `lineage` hears how far each one is.

        `meter` counts what is acknowledged.
        """
        self._work = work
        self._lineage = lineage
        self._meter = meter
        self._fail = fail
        self._partitions: dict[int, PartitionState] = {}
        self._in_flight = InFlightLimit(MOST_RECORDS)

    async def run(self, stream: Any) -> None:
        """The body of the agent. No exception escapes it: Faust would acknowledge the batch."""
        async for event in stream.noack().events():
            try:
                await self._take(event)
            except Exception as error:
                self._fail(error)
                await asyncio.Event().wait()  # this partition is over; the process is ending

    async def _take(self, event: Any) -> None:
        message = event.message
        fetched = FetchedBatch(message.partition, message.generation_id, message.value)
        state = self._partitions.setdefault(fetched.partition, PartitionState())
        if state.generation != fetched.generation or fetched.first < state.next:
            await self._drain(state)
            await retry_until_available_async(
                lambda: self._work.begin(fetched.partition, fetched.first, fetched.generation)
            )
            state.generation = fetched.generation
        elif fetched.first > state.next:
            await retry_until_available_async(lambda: self._work.skip(fetched.partition, state.next, fetched.first))
        count, newest = len(fetched.records), fetched.records[-1].timestamp
        taken = TakenBatch(fetched.partition, fetched.last + 1, count, newest, time.monotonic())
        await self._in_flight.take(count)
        try:
            durable = asyncio.ensure_future(await self._work.handle(fetched))  # under way, whoever waits for it or not
        except BaseException:  # Faust cancels the agent of a partition that goes to another member
            self._in_flight.free(count)
            raise
        state.next = taken.next_offset
        if self._lineage is not None:
            self._lineage.move(fetched.partition, state.next, newest)
        fetched.records.clear()  # Faust holds on to the list until the batch is acknowledged, and longer
        state.pending.append(asyncio.create_task(self._finish(event, durable, taken)))
        while len(state.pending) >= IN_FLIGHT:
            await state.pending.popleft()

    async def _finish(self, event: Any, durable: Awaitable[None], taken: TakenBatch) -> None:
        try:
            await durable
        except Exception as error:
            self._fail(error)
            raise
        else:
            event.ack()  # invariant 2
            if self._meter is not None:
                seconds = time.monotonic() - taken.began
                self._meter.handled(taken.partition, taken.next_offset, taken.events, taken.newest / 1_000, seconds)
        finally:
            self._in_flight.free(taken.events)

    @staticmethod
    async def _drain(state: PartitionState) -> None:
        while state.pending:
            try:
                await state.pending.popleft()
            except Exception as error:
                raise Fatal(f"a slice before this one failed: {error}") from error

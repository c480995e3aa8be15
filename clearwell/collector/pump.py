"""One run of one connector: read, send, and save the position after Kafka has acknowledged (invariant 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol, cast

from clearwell.collector import watch
from clearwell.collector.rate_limit import Bucket
from clearwell.collector.watch import Watch
from clearwell.kafka.message_format import Record
from clearwell.records.source_events import RecordMaker, refusals
from clearwell.registry.positions import NOTHING, Counts
from clearwell.source import Acknowledging, Batch, Counting, Lag, Lagging, Source, SourceEvent, SourcePosition

IN_FLIGHT = 4
"""Batches sent and not yet acknowledged, at most: reading goes on while Kafka works, and memory stays bounded."""

LAST_ACKS = 3.0
"""Seconds that a stopping pump waits for what is in flight; what is not acknowledged then is read again."""


class PendingRecords(Protocol):
    """Records on their way."""

    def wait(self) -> None:
        """Return when all of them are durable; raises ClearwellError when any is not."""


class RawProducer(Protocol):
    """What a connector writes through."""

    def begin(self, topic: str, records: Sequence[Record]) -> PendingRecords:
        """Hand records over and return at once; they go out in the order of the calls."""


class InFlightBatch(NamedTuple):
    """A batch on its way, and the position after it, or a part of one.

    The `last` one, without events, tells that all is read. `idle`: a source without news, at its position.
    """

    records: PendingRecords
    position: SourcePosition | None
    counts: Counts
    last: bool = False
    idle: bool = False


class Pump:
    """Moves events from a source into a topic until the source ends, something fails, or it is told to stop."""

    def __init__(
        self,
        source: Source,
        maker: RecordMaker,
        producer: RawProducer,
        topic: str,
        save: Callable[[SourcePosition | None, Counts], None],
        bucket: Bucket,
        watch: Watch,
    ) -> None:
        """`save(position, counts)` blocks until both are durable; it is called in the source's order.

        `bucket` slows reading down; `watch` is told what is waited for.
        """
        self._source = source
        self._maker = maker
        self._producer = producer
        self._topic = topic
        self._save = save
        self._bucket = bucket
        self._watch = watch
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._sent: asyncio.Queue[InFlightBatch | None] = asyncio.Queue()
        self._counted = 0
        self._idle = False

    async def run(self, after: SourcePosition | None, stop: asyncio.Event) -> bool:
        """True when the source is exhausted and all of it is durable; False when `stop` came first.

        Raises what the source, Kafka or the registry raised; what was acknowledged until then is saved first.
        """
        reading = asyncio.create_task(self._read(after))
        settling = asyncio.create_task(self._settle())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({reading, settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            exhausted = await _ended(reading)
            self._sent.put_nowait(None)
            await asyncio.wait({settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            settled = await _ended(settling, patience=LAST_ACKS)
        finally:
            for task in (reading, settling, stopping):
                task.cancel()
            await asyncio.wait({reading, settling, stopping})
        for task in (settling, reading):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return exhausted and settled

    def lag(self) -> Lag:
        """What the source says of it; one that waits has nothing to be read, and of others nobody knows."""
        if isinstance(self._source, Lagging):
            return self._source.lag()
        return Lag(0, 0.0) if self._idle else Lag()

    async def _read(self, after: SourcePosition | None) -> None:
        # every source's `read` is an async generator; the protocol promises an iterator alone
        async with aclosing(cast(Any, self._source.read(after))) as batches:
            position = after
            while (batch := await self._next(batches)) is not None:
                events, position = batch
                self._idle = not events
                counts = self._count(events)
                *before, last = self._bucket.parts(events)
                for part in before:
                    await self._pass_on(part)
                await self._pass_on(last, position, counts, idle=not events)
            await self._room.acquire()
            end = await asyncio.to_thread(self._send, [])
            self._sent.put_nowait(InFlightBatch(end, position, self._count([]), last=True))

    async def _pass_on(
        self,
        events: Sequence[SourceEvent],
        position: SourcePosition | None = None,
        counts: Counts = NOTHING,
        *,
        idle: bool = False,
    ) -> None:
        """Send events as fast as the rate limit lets them; a part before a batch's last one has no position."""
        await self._room.acquire()
        records = await asyncio.to_thread(self._send, events)
        self._sent.put_nowait(InFlightBatch(records, position, counts, idle=idle))
        if pause := self._bucket.take(len(events)):
            await asyncio.sleep(pause)

    def _count(self, events: Sequence[SourceEvent]) -> Counts:
        """What this batch adds to the account: of the source's own count what is new since the batch before."""
        if not isinstance(self._source, Counting):
            return Counts(len(events), refusals(events))
        count = self._source.count()
        new, self._counted = count.read - self._counted, count.read
        return Counts(len(events), refusals(events), new, count.held, count.passed_over)

    async def _next(self, batches: AsyncIterator[Batch]) -> Batch | None:
        with self._watch.waiting(watch.SOURCE):
            return await anext(batches, None)

    def _send(self, events: Sequence[SourceEvent]) -> PendingRecords:
        return self._producer.begin(self._topic, self._maker.make(events))

    async def _settle(self) -> None:
        account = UnsavedCounts()
        while (in_flight := await self._sent.get()) is not None:
            with self._watch.waiting(watch.KAFKA):
                await asyncio.to_thread(in_flight.records.wait)
            self._room.release()
            counts = account.due(in_flight)
            if counts is None:
                continue
            with self._watch.waiting(watch.POSITION):
                await asyncio.to_thread(self._save, in_flight.position, counts)
            if in_flight.position is not None and isinstance(self._source, Acknowledging):
                with self._watch.waiting(watch.TELLING):
                    await self._source.acknowledged(in_flight.position)


class UnsavedCounts:
    """What was acknowledged and is not saved yet: what came without a position is saved with the next one."""

    def __init__(self) -> None:
        self._open = NOTHING
        self._saved: SourcePosition | None = None
        self._held: int | None = None
        self._passed_over: int | None = None

    def due(self, in_flight: InFlightBatch) -> Counts | None:
        """What to save with this batch's position; None when there is nothing new, as with a heartbeat."""
        counts = self._open + in_flight.counts
        passed = counts.passed_over not in (None, self._passed_over)
        news = counts.events or counts.read or counts.held not in (None, self._held) or passed
        unread = passed and in_flight.idle and not counts.events  # of what there is, nothing can be read as yet
        if in_flight.position is None and not in_flight.last and not unread:
            self._open = counts
            return None
        if not news and in_flight.position in (None, self._saved):
            return None
        self._open, self._saved = NOTHING, in_flight.position
        self._held = self._held if counts.held is None else counts.held
        self._passed_over = self._passed_over if counts.passed_over is None else counts.passed_over
        return counts


async def _ended(task: asyncio.Task[None], patience: float = 0.0) -> bool:
    """End a task, after `patience` seconds by force; whether it came to its natural end."""
    if not task.done() and patience:
        await asyncio.wait({task}, timeout=patience)
    natural = task.done()
    if not natural:
        task.cancel()
        await asyncio.wait({task})
    return natural and not task.cancelled() and task.exception() is None

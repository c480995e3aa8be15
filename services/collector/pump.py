"""One run of one connector: read, send, and save the position after Kafka has acknowledged (invariant 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, cast

from clearwell.kafka.producer import EventProducer, Sending
from clearwell.source import Acknowledging, Batch, Source, SourceEvent, SourcePosition
from services.collector import watch
from services.collector.rate import Bucket
from services.collector.records import RecordMaker
from services.collector.watch import Watch

IN_FLIGHT = 4
"""Batches sent and not yet acknowledged, at most: reading goes on while Kafka works, and memory stays bounded."""

LAST_ACKS = 3.0
"""Seconds that a stopping pump waits for what is in flight; what is not acknowledged then is read again."""


class Flight(NamedTuple):
    """A batch on its way, and the position after it."""

    sending: Sending
    position: SourcePosition | None
    events: int


class Pump:
    """Moves events from a source into a topic until the source ends, something fails, or it is told to stop."""

    def __init__(
        self,
        source: Source,
        maker: RecordMaker,
        producer: EventProducer,
        topic: str,
        save: Callable[[SourcePosition, int], None],
        bucket: Bucket,
        watch: Watch,
    ) -> None:
        """`save(position, events)` blocks until the position is durable; it is called in the source's order.

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
        self._sent: asyncio.Queue[Flight | None] = asyncio.Queue()

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

    async def _read(self, after: SourcePosition | None) -> None:
        # every source's `read` is an async generator; the protocol promises an iterator alone
        async with aclosing(cast(Any, self._source.read(after))) as batches:
            while (batch := await self._next(batches)) is not None:
                events, position = batch
                await self._room.acquire()
                sending = await asyncio.to_thread(self._send, events)
                self._sent.put_nowait(Flight(sending, position, len(events)))
                if pause := self._bucket.take(len(events)):
                    await asyncio.sleep(pause)

    async def _next(self, batches: AsyncIterator[Batch]) -> Batch | None:
        with self._watch.waiting(watch.SOURCE):
            return await anext(batches, None)

    def _send(self, events: Sequence[SourceEvent]) -> Sending:
        return self._producer.begin(self._topic, self._maker.make(events))

    async def _settle(self) -> None:
        saved: SourcePosition | None = None
        while (flight := await self._sent.get()) is not None:
            with self._watch.waiting(watch.KAFKA):
                await asyncio.to_thread(flight.sending.wait)
            self._room.release()
            if flight.position is None or (not flight.events and flight.position == saved):
                continue  # a heartbeat of a source that waits
            with self._watch.waiting(watch.POSITION):
                await asyncio.to_thread(self._save, flight.position, flight.events)
            saved = flight.position
            if isinstance(self._source, Acknowledging):
                with self._watch.waiting(watch.TELLING):
                    await self._source.acknowledged(saved)


async def _ended(task: asyncio.Task[None], patience: float = 0.0) -> bool:
    """End a task, after `patience` seconds by force; whether it came to its natural end."""
    if not task.done() and patience:
        await asyncio.wait({task}, timeout=patience)
    natural = task.done()
    if not natural:
        task.cancel()
        await asyncio.wait({task})
    return natural and not task.cancelled() and task.exception() is None

"""A deliverer that a person has paused: it takes no more batches, keeps its partitions and its place, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from clearwell.worker.destination_positions import DestinationPositions
from clearwell.worker.partition_processor import BatchWork, FetchedBatch
from services.deliverer.health import Health


class Pausable:
    """Stands before a deliverer's work. The fetch loop waits behind it as behind a slow store; heartbeats go on."""

    def __init__(self, work: BatchWork, positions: DestinationPositions, health: Health) -> None:
        self._work = work
        self._positions = positions
        self._health = health
        self._paused = health.paused
        self._changed = asyncio.Event()
        self._open = asyncio.Event()

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """See `BatchWork`."""
        await self._work.begin(partition, first, generation)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        """See `BatchWork`."""
        await self._work.skip(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        """What was queued before a pause is still written; nothing after it."""
        await self._open.wait()
        return await self._work.handle(fetched)

    async def run(self) -> None:
        """Open and shut. Raises Fatal when the position was set back meanwhile: the next process starts from there."""
        loop = asyncio.get_running_loop()

        def hear(paused: bool) -> None:
            self._paused = paused
            self._changed.set()

        def tell(paused: bool) -> None:
            loop.call_soon_threadsafe(hear, paused)

        self._health.on_pause(tell)
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._paused:
                self._open.clear()
            elif not self._open.is_set():
                await self._positions.require_not_set_back()
                self._open.set()

    def report_failure(self, error: BaseException) -> None:
        """See `clearwell.worker.faust_app.Companion`."""
        self._health.report_failure(error)

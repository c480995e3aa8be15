"""The archive as the event loop sees it: what comes within some seconds, from all partitions, is one commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from clearwell.backoff import retry_until_available
from clearwell.destinations.lake.archive import Archive, RawRange

Result = TypeVar("Result")

FULL = 10_000
"""Events after which a commit waits for no more."""


class ArchiveWriter:
    """Queues ranges; the archive is used on a thread of its own, in order, and retried in place."""

    def __init__(self, archive: Archive, seconds: float) -> None:
        """`seconds` is how long the first range of a commit waits for others."""
        self._archive = archive
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._closing = threading.Event()
        self._pieces: list[RawRange] = []
        self._written: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Make the table."""
        await self._call(self._archive.open)

    async def next_offset(self, topic_id: str, partition: int) -> int:
        """See `Archive.next_offset`."""
        return await self._call(lambda: self._archive.next_offset(topic_id, partition))

    def write(self, raw_range: RawRange) -> asyncio.Future[None]:
        """Completes when `range` is durable; raises what the archive raised, other than Retryable."""
        loop = asyncio.get_running_loop()
        if self._written is None:
            self._written = loop.create_future()
            self._timer = loop.call_later(self._seconds, self._flush)
        written = self._written
        self._pieces.append(raw_range)
        if sum(len(piece.records) for piece in self._pieces) >= FULL:
            self._flush()
        return asyncio.shield(written)  # many wait for it: one that is cancelled must not cancel it

    def close(self) -> None:
        """What is queued is not written any more."""
        self._closing.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _flush(self) -> None:
        ranges, written, timer = self._pieces, self._written, self._timer
        self._pieces, self._written, self._timer = [], None, None
        if timer is not None:
            timer.cancel()
        if written is not None:
            self._call(lambda: self._archive.write(ranges)).add_done_callback(lambda done: _pass_on(done, written))

    def _call(self, action: Callable[[], Result]) -> asyncio.Future[Result]:
        """Later calls wait behind this one, so order is kept."""
        insist = partial(retry_until_available, action, pause=self._closing.wait)
        return asyncio.get_running_loop().run_in_executor(self._thread, insist)


def _pass_on(done: asyncio.Future[None], written: asyncio.Future[None]) -> None:
    error = done.exception()
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)

"""Connections on which a server sends as it likes: what came is kept, so that it can be taken in batches."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
MOST_WAITING = 128
"""What came and was not taken yet: more waits on the wire, so that memory stays bounded."""


class Inbox(Generic[T]):
    """What `receive` gives, again and again, until `is_last` says so of something or it raises."""

    def __init__(self, receive: Callable[[], Awaitable[T]], is_last: Callable[[T], bool]) -> None:
        self._receive = receive
        self._is_last = is_last
        self._queue: asyncio.Queue[T | BaseException] = asyncio.Queue(MOST_WAITING)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Inbox[T]]:
        """Receive while this is open."""
        receiving = asyncio.create_task(self._fill())
        try:
            yield self
        finally:
            receiving.cancel()
            await asyncio.wait({receiving})

    async def take(self, seconds: float, most: int = MOST_WAITING) -> list[T]:
        """What is there, at most `most`, after at most `seconds`; [] when nothing came.

        Raises what `receive` raised, once all before it was taken.
        """
        try:
            async with asyncio.timeout(seconds):
                item = await self._queue.get()
        except TimeoutError:
            return []
        taken: list[T] = []
        while not isinstance(item, BaseException):
            taken.append(item)
            if len(taken) == most or self._queue.empty():
                return taken
            item = self._queue.get_nowait()
        if not taken:
            raise item
        self._queue.put_nowait(item)  # it is the last, so there is room
        return taken

    async def _fill(self) -> None:
        try:
            while True:
                item = await self._receive()
                await self._queue.put(item)
                if self._is_last(item):
                    return
        except Exception as error:
            await self._queue.put(error)


LARGE = 65_536
"""Bytes of which events are made in a thread, so that the event loop goes on."""


async def make(work: Callable[[], T], size: int) -> T:
    """What `work` makes of `size` bytes: in a thread when they are many."""
    return await asyncio.to_thread(work) if size > LARGE else work()


def passing_id(data: bytes) -> str:
    """An id for what can't be read again: what it says, and when it came."""
    return f"{hashlib.blake2b(data, digest_size=12).hexdigest()}/{time.time_ns()}"


def sample_for(seconds: float) -> Callable[[], float]:
    """Says how many of the `seconds` from now are left."""
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()

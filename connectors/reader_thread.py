"""A thread that reads what blocks, and hands what it has read to the event loop, in bounded memory."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeAlias, TypeVar

from clearwell.source import Batch

T = TypeVar("T")

CountedBatch: TypeAlias = tuple[Batch, int]
"""A batch, and how many items were read for it (`clearwell.source.Counting`)."""


class Stopped(BaseException):
    """Nobody wants more: raised in the thread, where it ends the work. No Exception, so that nothing catches it."""


class ReaderThread(Generic[T]):
    """Runs `work(thread)` in a thread of its own; the loop takes what it offers.

    Used instead of `asyncio.to_thread` where a connection must be looked after while nobody takes anything, and so that
    many sources that wait do not use up the loop's few worker threads.
    """

    def __init__(self, work: Callable[[ReaderThread[T]], None], name: str, room: int = 2) -> None:
        """`room`: items offered and not yet taken, at most. Must be made in the event loop, which it starts in."""
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._came = asyncio.Event()
        self._room = threading.Semaphore(room)
        self._stop = threading.Event()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def offer(self, item: T, between: Callable[[], None] | None = None) -> None:
        """In the thread: wait until there is room, then hand over. Raises Stopped.

        `between` is called several times a second while there is none.
        """
        while not self._room.acquire(timeout=0.2):
            self.require_wanted()
            if between is not None:
                between()
        self.require_wanted()
        self._tell(lambda: self._put(item))

    def require_wanted(self) -> None:
        """In the thread: raises Stopped once nobody wants more."""
        if self._stop.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """In the thread: wait, but not when nobody wants more. Raises Stopped."""
        if self._stop.wait(seconds):
            raise Stopped

    async def take(self) -> T | None:
        """In the loop: the next item, or None when the work has ended; raises what it raised."""
        while not self._items and not self._ended.done():
            self._came.clear()
            await self._came.wait()
        if not self._items:
            self._ended.result()
            return None
        self._room.release()
        return self._items.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The thread ends with the block, also where the loop's task is cancelled."""
        await asyncio.shield(asyncio.ensure_future(self.stop()))

    async def stop(self) -> None:
        """In the loop: have the work end, and wait until it has. What it raises now is nobody's concern."""
        self._stop.set()
        await asyncio.wait({self._ended})
        if not self._ended.cancelled():
            self._ended.exception()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            self._work(self)
        except Stopped:
            pass
        except BaseException as error:  # told to whoever takes
            failure = error
        self._tell(lambda: self._end(failure))

    def _put(self, item: T) -> None:
        self._items.append(item)
        self._came.set()

    def _end(self, failure: BaseException | None) -> None:
        if self._ended.done():
            return
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)
        self._came.set()

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the loop has gone: a process that ends
            self._stop.set()


class Every:
    """Whether so many seconds have passed since it last said so."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def due(self) -> bool:
        """True, and begins anew, when they have."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True

    def again(self) -> None:
        """Begin anew."""
        self._next = time.monotonic() + self._seconds

"""Reading a source in a test: batches until enough came, cancelling at any await, what is left open afterwards."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import msgspec
import psutil

from clearwell.source import Acknowledging, Batch, Source, SourceEvent, SourcePosition, stored_position

T = TypeVar("T")
PATIENCE = 30.0
"""Seconds within which a source must do what it is asked."""

LINGER = 5.0
"""Seconds for which threads and sockets may live on after the last of a source was closed."""


def run(doing: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
    """Run to the end in an event loop of its own. Raises AssertionError when that takes over `seconds` (PATIENCE)."""
    limit = PATIENCE if seconds is None else seconds

    async def limited() -> T:
        task = asyncio.ensure_future(doing)
        await asyncio.wait({task}, timeout=limit)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1)
            raise AssertionError(f"It is not done after {limit:.0f} s.")
        return task.result()

    return asyncio.run(limited())


async def take(source: Source, after: Any, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Batches until `enough` of them or the end; the source is closed then."""
    try:
        return await _read(source, after, enough)
    finally:
        await source.close()


async def take_and_acknowledge(source: Source, after: Any) -> Batch | None:
    """The first batch with events, acknowledged as a collector would; None when there is none. Closes the source."""
    reading: Any = source.read(after)
    try:
        async for events, position in reading:
            if events:
                if isinstance(source, Acknowledging) and position is not None:
                    await source.acknowledged(position)
                return events, position
    finally:
        await reading.aclose()
        await source.close()
    return None


def events_of(batches: list[Batch]) -> list[SourceEvent]:
    """The events of all batches in one list."""
    return [event for events, _ in batches for event in events]


def as_stored(position: SourcePosition | None, shape: type[SourcePosition]) -> SourcePosition | None:
    """A position as it comes back from the registry."""
    if position is None:
        return None
    return stored_position(msgspec.json.decode(msgspec.json.encode(position)), shape)


class CancelAt:
    """Awaits a coroutine and cancels the task at its Nth suspension (never for 0); counts them in `suspensions`."""

    def __init__(self, doing: Coroutine[Any, Any, Any], at: int = 0) -> None:
        self._doing = doing
        self._at = at
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._doing.send, None)
        while True:
            try:
                waiting = step()
            except StopIteration as end:
                return end.value
            self.suspensions += 1
            if self.suspensions == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                sent = yield waiting
            except BaseException as error:
                step = partial(self._doing.throw, error)
            else:
                step = partial(self._doing.send, sent)


async def cancelled_at(at: int, source: Source, enough: Callable[[list[Batch]], bool]) -> int:
    """Read from the beginning, cancelled at the `at`th suspension, then close. The suspensions there were.

    Raises AssertionError when the cancellation is swallowed or not obeyed, or a task is left.
    """
    driven = CancelAt(_read(source, None, enough), at)

    async def drive() -> None:
        await driven

    task = asyncio.create_task(drive())
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.done(), f"Cancelled at its await number {at}, reading goes on after {PATIENCE:.0f} s."
    was_cut = 0 < at <= driven.suspensions
    assert task.cancelled() or not was_cut or task.exception() is not None, (
        f"Cancelled at its await number {at}, the source swallowed it."
    )
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    await asyncio.wait_for(source.close(), PATIENCE)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=LINGER)
    late = [one.get_name() for one in left if not one.done()]
    assert not late, f"Cancelled at its await number {at}, the source left tasks: {late}."
    return driven.suspensions


async def _read(source: Source, after: Any, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    batches: list[Batch] = []
    reading: Any = source.read(after)
    try:
        async for batch in reading:
            batches.append(batch)
            if enough(batches):
                break
    finally:
        await reading.aclose()
    return batches


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Assert that the block leaves no file, socket or thread, and nothing for the garbage collector to close."""
    gc.collect()
    process = psutil.Process()
    files, threads = process.num_fds(), threading.active_count()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    deadline = time.monotonic() + LINGER
    while (process.num_fds() > files or threading.active_count() > threads) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
        gc.collect()
    lost = [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)]
    assert not lost, f"Left for the garbage collector to close: {lost}."
    assert process.num_fds() <= files, f"{process.num_fds() - files} files or sockets were left open."
    assert threading.active_count() <= threads, f"Threads were left: {[one.name for one in threading.enumerate()]}."

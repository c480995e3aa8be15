"""Threads of its own for each connector, so that one whose calls hang takes none from another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
"""Threads of one connector: sending, waiting for Kafka and saving take one each, the rest is the source's."""

OWN_THREADS = 16
"""Threads of the collector itself."""

_connector: ContextVar[str | None] = ContextVar("connector", default=None)


class Threads(ThreadPoolExecutor):
    """The event loop's executor: calls go to the threads of the connector in whose task they are made.

    Sources call `asyncio.to_thread` and need not know. A connector whose threads all hang waits for them alone.
    """

    def __init__(self) -> None:
        super().__init__(OWN_THREADS, "collector")
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._busy: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `Executor.submit`, by the connector of the current context."""
        name = _connector.get()
        if name is None:
            return super().submit(fn, *args, **kwargs)
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = ThreadPoolExecutor(THREADS, f"connector-{name}")
        future = pool.submit(fn, *args, **kwargs)
        self._busy.add(future)
        future.add_done_callback(self._busy.discard)
        return future

    def forget(self, name: str) -> None:
        """The connector is no longer run here: its threads end as their calls do."""
        pool = self._pools.pop(name, None)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def hang(self, patience: float) -> bool:
        """Whether calls of connectors are still busy after `patience` seconds: the process can't end by itself then."""
        return bool(wait(list(self._busy), patience).not_done)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`; hung threads of connectors are not waited for."""
        for name in list(self._pools):
            self.forget(name)
        super().shutdown(wait, cancel_futures=cancel_futures)


def in_threads_of(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose blocking calls, and those of the tasks it starts, run in the threads of the connector `name`."""
    context = copy_context()
    context.run(_connector.set, name)
    return asyncio.create_task(work, context=context, name=f"connector {name}")

"""One question to a server for all who wait for its answer at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedQuestion(Generic[Answer]):
    """Asked by many at once, it is put once. Nobody gets an answer to what was asked before they came."""

    def __init__(self, put: Callable[[], Awaitable[Answer]]) -> None:
        """`put` asks and returns the answer; what it raises is raised to all who wait."""
        self._put = put
        self._next: asyncio.Future[Answer] | None = None
        self._running: asyncio.Task[None] | None = None

    async def ask(self) -> Answer:
        """The answer to a question that was put after this call."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        waiting = self._next
        if self._running is None:
            self._running = asyncio.create_task(self._answer())
        return await asyncio.shield(waiting)

    async def _answer(self) -> None:
        try:
            while self._next is not None:
                waiting, self._next = self._next, None
                try:
                    waiting.set_result(await self._put())
                except Exception as error:
                    waiting.set_exception(error)
        finally:
            self._running = None

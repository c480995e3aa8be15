"""Group commit of what is sent to one connector: whatever came while the last batch was on its way is the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from clearwell.errors import Retryable
from clearwell.source import SourceEvent

MOST_EVENTS = 5_000
"""In one batch, unless a single request has more."""

LINGER_SECONDS = 0.002
"""How long the first of a batch waits for others: one round trip to Kafka serves them all."""


class GroupCommit:
    """`offer` from the requests, `run` in one task."""

    def __init__(self, send: Callable[[Sequence[SourceEvent]], None]) -> None:
        """`send` blocks until Kafka has acknowledged all it was given, or raises."""
        self._send = send
        self._waiting: deque[tuple[Sequence[SourceEvent], asyncio.Future[None]]] = deque()
        self._in_flight: list[asyncio.Future[None]] = []
        self._some = asyncio.Event()

    def offer(self, events: Sequence[SourceEvent]) -> asyncio.Future[None]:
        """Done when Kafka has acknowledged these events (invariant 1); carries what `send` raised."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((events, future))
        self._some.set()
        return future

    async def run(self) -> None:
        """Send batch after batch until cancelled. Raises what `send` raised, after the batch's requests were told."""
        while True:
            await self._some.wait()
            await asyncio.sleep(LINGER_SECONDS)
            events = self._next()
            if not events:
                continue
            try:
                await asyncio.to_thread(self._send, events)
            except Exception as error:
                _fail(self._in_flight, error)
                raise
            for future in self._in_flight:
                if not future.done():
                    future.set_result(None)
            self._in_flight = []

    async def drain(self, seconds: float) -> None:
        """Wait until all that was offered is answered, at most `seconds`; `run` goes on meanwhile."""
        waiting = {*self._in_flight, *(future for _, future in self._waiting)}
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)

    def give_up(self) -> None:
        """Tell all that still wait that nobody knows whether their events are durable: they must send again."""
        unanswered = Retryable("The connector stopped before Kafka acknowledged.")
        _fail([*self._in_flight, *(future for _, future in self._waiting)], unanswered)

    def _next(self) -> list[SourceEvent]:
        """Requests that gave up waiting are left out: nobody would hear that they were taken."""
        events: list[SourceEvent] = []
        self._in_flight = []
        while self._waiting and len(events) < MOST_EVENTS:
            more, future = self._waiting.popleft()
            if not future.done():
                events += more
                self._in_flight.append(future)
        if not self._waiting:
            self._some.clear()
        return events


def _fail(futures: Sequence[asyncio.Future[None]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)

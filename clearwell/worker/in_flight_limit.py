"""Room for a number of records in flight, given out in the order it was asked for."""

from __future__ import annotations

import asyncio
from collections import deque


class InFlightLimit:
    """One event loop's; a taker that waits is passed by none, however little the others want."""

    def __init__(self, most: int) -> None:
        """`most` records at once; a taker that wants more than that alone gets it when nobody else has any."""
        self._most = most
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> None:
        """Wait until there is room for `count` records; `free` the same number later."""
        if not self._waiting and self._fits(count):
            self._taken += count
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came at the same moment
                self.free(count)
            raise

    def free(self, count: int) -> None:
        """Give back what was taken."""
        self._taken -= count
        while self._waiting and (self._waiting[0][1].cancelled() or self._fits(self._waiting[0][0])):
            count, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._taken += count
                turn.set_result(None)

    def _fits(self, count: int) -> bool:
        return not self._taken or self._taken + count <= self._most

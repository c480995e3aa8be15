"""A connector's rate limit: a token bucket that may go into debt, so that a batch is never split."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST_SECONDS = 2.0
"""A bucket that was not used holds the events of so long."""


class Bucket:
    """`rate` events a second on average; None: no limit."""

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._room = 0.0 if rate is None else rate * BURST_SECONDS
        self._at = clock()

    def take(self, events: int) -> float:
        """Take `events`; the seconds to wait before more may be taken."""
        if self._rate is None:
            return 0.0
        self._room = min(self._refilled(self._rate), self._rate * BURST_SECONDS) - events
        return max(-self._room / self._rate, 0.0)

    def wait(self) -> float:
        """The seconds to wait before anything may be taken."""
        return 0.0 if self._rate is None else max(-self._refilled(self._rate) / self._rate, 0.0)

    def _refilled(self, rate: float) -> float:
        now = self._clock()
        self._room += (now - self._at) * rate
        self._at = now
        return self._room

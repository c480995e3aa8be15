"""A connector's rate limit: evenly, within a second too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

BURST_SECONDS = 0.1
"""A bucket that was not used holds the events of so long, and one at least."""


class Bucket:
    """`rate` events a second; None: no limit. It may go into debt by what is taken at once."""

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._most = 0.0 if rate is None else max(rate * BURST_SECONDS, 1.0)
        self._room = self._most
        self._at = clock()

    def parts(self, events: Sequence[T]) -> Iterator[Sequence[T]]:
        """What may be taken at once of a batch, one part after the other; an empty batch is one part."""
        size = max(int(self._most), 1)
        if self._rate is None or len(events) <= size:
            yield events
        else:
            yield from (events[start : start + size] for start in range(0, len(events), size))

    def take(self, events: int) -> float:
        """Take `events`; the seconds to wait before more may be taken."""
        if self._rate is None:
            return 0.0
        self._refill(self._rate)
        self._room -= events
        return max(-self._room / self._rate, 0.0)

    def wait(self) -> float:
        """The seconds to wait before anything may be taken."""
        if self._rate is None:
            return 0.0
        self._refill(self._rate)
        return max(-self._room / self._rate, 0.0)

    def _refill(self, rate: float) -> None:
        now = self._clock()
        self._room = min(self._room + (now - self._at) * rate, self._most)
        self._at = now

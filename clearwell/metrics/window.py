"""How fast counts grow: over about the last minute, since a query can't be asked of a process."""

from __future__ import annotations

from collections import deque

WINDOW = 60.0
"""Seconds over which rates are told."""


class Window:
    """Some counts that are looked at every few seconds."""

    def __init__(self, at: float, *counts: float) -> None:
        """What they are at a monotonic time `at`, in seconds."""
        self._samples: deque[tuple[float, tuple[float, ...]]] = deque([(at, counts)])

    def rates(self, at: float, *counts: float) -> tuple[float, ...]:
        """How much each has grown a second, over the last minute or since the beginning; 0 where one was set back."""
        while len(self._samples) > 1 and self._samples[1][0] <= at - WINDOW:
            self._samples.popleft()
        if any(new < old for new, old in zip(counts, self._samples[-1][1], strict=True)):
            self._samples.clear()
        self._samples.append((at, counts))
        began, first = self._samples[0]
        seconds = max(at - began, 1.0)
        return tuple((new - old) / seconds for new, old in zip(counts, first, strict=True))

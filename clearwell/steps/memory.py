"""What steps remember of one partition. All of it can be rebuilt from the tail of the raw topic.

Distances are counted in raw offsets, so that what is remembered is a function of the log and not of batches.
"""

from __future__ import annotations

from typing import Any

LONG_AGO = -(2**62)


class Last:
    """The last value that came with an event, and its raw offset."""

    __slots__ = ("offset", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.offset = LONG_AGO

    def turn(self, offset: int) -> None:
        """Nothing to forget: one value is kept."""


class Seen:
    """The raw offset at which each value was last seen, for at least the last `window` offsets.

    Two generations: `now` takes new values; when it spans a window it becomes `before`, and the older one is forgotten.
    So memory is bounded by two windows and a batch, and forgetting costs nothing an event.
    """

    __slots__ = ("before", "now", "since", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.now: dict[Any, int] = {}
        self.before: dict[Any, int] = {}
        self.since: int | None = None

    def turn(self, offset: int) -> None:
        """Called with a batch's first offset, before the batch."""
        if self.since is None:
            self.since = offset
        elif offset - self.since > self.window:
            self.before, self.now, self.since = self.now, {}, offset

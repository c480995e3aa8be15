"""`rejected N of last M`: too many bad events mean that a source, a store or the contract is broken (invariant 6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from clearwell.contract.model import Limits
from clearwell.errors import Fatal


class StopRule:
    """Counts bad events among the last `of_last` offsets of one partition."""

    def __init__(self, limits: Limits, told: str, next_offset: int, bad: Sequence[int] = ()) -> None:
        """`told` says in the message what the events were and what to do.

        `bad` are the offsets below `next_offset` that were counted before, so that a restart forgets nothing.
        """
        self._limits = limits
        self._told = told
        self._window: deque[int] = deque(sorted(bad))
        self._forget(next_offset - 1)

    def count(self, last: int, bad: Sequence[int]) -> None:
        """Take in the bad offsets, rising, of a slice that ended at offset `last`; one is counted once.

        Raises Fatal when the rule says stop.
        """
        for offset in bad:  # one by one: a slice may be longer than the window
            if self._window and offset <= self._window[-1]:
                continue
            self._window.append(offset)
            self._forget(offset)
            if len(self._window) > self._limits.rejected:
                raise Fatal(
                    f"Stopped: more than {self._limits.rejected} of the last {self._limits.of_last} events were "
                    f"{self._told}; nothing was lost."
                )
        self._forget(last)

    def _forget(self, newest: int) -> None:
        while self._window and self._window[0] <= newest - self._limits.of_last:
            self._window.popleft()

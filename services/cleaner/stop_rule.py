"""`rejected N of last M`: too many bad events mean that the source or the contract is broken, so stop (invariant 6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from clearwell.contract.model import Limits
from clearwell.errors import Fatal


class StopRule:
    """Counts rejected events among the last `of_last` raw offsets of one partition."""

    def __init__(self, limits: Limits, next_offset: int, rejected: Sequence[int] = ()) -> None:
        """`rejected` are the offsets below `next_offset` known to be rejected, so that a restart forgets nothing."""
        self._limits = limits
        self._window: deque[int] = deque(sorted(rejected))
        self._forget(next_offset - 1)

    def count(self, last: int, rejected: Sequence[int]) -> None:
        """Take in the rejected offsets of a slice that ended at offset `last`. Raises Fatal when the rule says stop."""
        for offset in rejected:  # one by one: a slice may be longer than the window
            self._window.append(offset)
            self._forget(offset)
            if len(self._window) > self._limits.rejected:
                raise Fatal(
                    f"Stopped: more than {self._limits.rejected} of the last {self._limits.of_last} events were "
                    "rejected. Look at the dead letters, then mend the source or the contract (or its `limits`) and "
                    "start the cleaner again; nothing was lost."
                )
        self._forget(last)

    def _forget(self, newest: int) -> None:
        while self._window and self._window[0] <= newest - self._limits.of_last:
            self._window.popleft()

"""`rejected N of last M`: too many bad events mean that a source, a store or the contract is broken (invariant 6)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from clearwell.contract.model import RejectionLimits
from clearwell.errors import Fatal

RejectedEvent = tuple[int, str]
"""Its offset, and the connector that sent it ("" where nobody of ours did)."""


class TooManyRejected(Fatal):
    """The rule says stop. `connector` sent more than half of the bad events; "" where nobody did."""

    def __init__(self, message: str, connector: str) -> None:
        super().__init__(message)
        self.connector = connector


class RejectionCounter:
    """Counts bad events among the last `of_last` offsets of one partition."""

    def __init__(self, limits: RejectionLimits, told: str, next_offset: int, bad: Sequence[RejectedEvent] = ()) -> None:
        """`told` says in the message what the events were and what to do.

        `bad` are the events below `next_offset` that were counted before, so that a restart forgets nothing.
        """
        self._limits = limits
        self._told = told
        self._window: deque[RejectedEvent] = deque(sorted(bad))
        self._counted = self._window[-1][0] if self._window else -1
        self._forget_before(next_offset - 1)

    def count(self, last: int, bad: Sequence[RejectedEvent]) -> None:
        """Take in the bad events, rising, of a batch that ended at offset `last`; one is counted once.

        Raises TooManyRejected when the rule says stop; after `forgive` it may be called again with the same.
        """
        for offset, connector in bad:  # one by one: a batch may be longer than the window
            if offset <= self._counted:
                continue
            self._counted = offset
            self._window.append((offset, connector))
            self._forget_before(offset)
            if len(self._window) > self._limits.rejected:
                raise TooManyRejected(
                    f"Stopped: more than {self._limits.rejected} of the last {self._limits.of_last} events were "
                    f"{self._told}; nothing was lost.",
                    self._culprit(),
                )
        self._forget_before(last)

    def forgive(self, connector: str) -> None:
        """Forget what a connector sent: it was stopped itself."""
        self._window = deque(event for event in self._window if event[1] != connector)

    def _culprit(self) -> str:
        ((connector, events),) = Counter(connector for _, connector in self._window).most_common(1)
        return connector if 2 * events > len(self._window) else ""

    def _forget_before(self, newest: int) -> None:
        while self._window and self._window[0][0] <= newest - self._limits.of_last:
            self._window.popleft()

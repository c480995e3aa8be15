"""A row that the store refuses is found by halving its batch, and is refused alone; its neighbours are delivered.

One such row costs two writes for each halving: some 26 in a batch of 10,000. Nothing is done twice when a write is
tried again, since what is done is taken out of the parts; when the process dies, the store's position says where to go
on, and at most one row is refused again: its dead letter is then written twice, under the same identity.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from clearwell.destinations.protocol import CleanBatch, Destination, RowsRefused
from clearwell.errors import Fatal

OnRefused = Callable[[CleanBatch, RowsRefused], None]
"""Makes the one row of a batch a dead letter; returns when that is durable."""


class Bisection:
    """Writes batches to one destination. To be used by the store's thread alone."""

    def __init__(self, destination: Destination, on_refused: OnRefused) -> None:
        self._destination = destination
        self._on_refused = on_refused

    def write(self, parts: deque[CleanBatch]) -> None:
        """Write `parts`, consecutive batches of one partition, and take each out when it is durable.

        After Retryable the same deque is to be written again. Raises what the destination raises, and Fatal when a
        batch without rows is refused.
        """
        while parts:
            try:
                self._destination.write(parts[0])
            except RowsRefused as error:
                self._divide(parts, error)
            else:
                parts.popleft()

    def _divide(self, parts: deque[CleanBatch], error: RowsRefused) -> None:
        part = parts[0]
        if len(part.rows) > 1:
            parts.popleft()
            parts.extendleft(reversed(part.halves()))
        elif part.rows:
            self._on_refused(part, error)  # before the position passes it (invariants 2 and 5)
            parts[0] = part.without_row()
        else:
            raise Fatal(f"The store refuses a position, as if it were a row: {error}") from None

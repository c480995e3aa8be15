"""What a run is waiting for, and since when: so that one that is stuck is noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SOURCE = "The source has been silent for {:.0f} s: it gave neither events nor a heartbeat"
OPENING = "The source has not been opened for {:.0f} s"
KAFKA = "Kafka has not acknowledged for {:.0f} s"
POSITION = "The position has not been saved for {:.0f} s: Postgres does not answer"
TELLING = "The source has not taken the acknowledgement for {:.0f} s"


class Watch:
    """Each thing that is waited for is waited for once at a time."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """`what` is one of this module's sentences."""
        self._since[what] = time.monotonic()
        try:
            yield
        finally:
            self._since.pop(what, None)

    def stuck(self, limit: float) -> str | None:
        """A sentence on what has been waited for longest, when that is longer than `limit` seconds."""
        if not self._since:
            return None
        what, since = min(self._since.items(), key=lambda item: item[1])
        waited = time.monotonic() - since
        return what.format(waited) if waited > limit else None

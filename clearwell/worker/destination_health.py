"""What a destination's thread says of it, for whoever asks: is it away, and what was lost before it came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clearwell.errors import ClearwellError
from clearwell.registry.jobs import JobHealth, JobState

WELL = JobHealth(JobState.RUNNING)


@dataclass(slots=True)
class DestinationHealth:
    """`well`, `trouble` and `lost` may be called from any thread, as often as is convenient."""

    now: JobHealth = WELL
    _well: JobHealth = WELL

    def well(self) -> None:
        """The destination did what it was asked."""
        self.now = self._well

    def lost(self, text: str) -> None:
        """Events were gone before they were delivered: said from now on, for as long as this run lasts."""
        self.now = self._well = JobHealth(JobState.RUNNING, text, datetime.now(UTC))

    def trouble(self, error: ClearwellError, wait: float) -> None:
        """The destination is away or not well, and is tried again after `wait` seconds."""
        now = datetime.now(UTC)
        self.now = JobHealth(JobState.RETRYING, str(error), now, now + timedelta(seconds=wait))

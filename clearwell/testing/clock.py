"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """The time of a log in memory: when records arrived, and what retention has removed."""

    def __init__(self, now: datetime = START) -> None:
        """`now` bears its time zone."""
        self._now = now

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return self._now

    @property
    def milliseconds(self) -> int:
        """The same as a Unix time, as Kafka writes it."""
        return round(self._now.timestamp() * 1000)

    def set(self, now: datetime) -> None:
        """Go to a time that is not earlier. Raises ValueError for one that is, or has no zone."""
        if now.tzinfo is None or now < self._now:
            raise ValueError(f"{now} has no time zone, or is before {self._now}: the clock of a log goes forwards.")
        self._now = now.astimezone(UTC)

    def advance(self, by: timedelta) -> None:
        """Go on by so much."""
        self.set(self._now + by)

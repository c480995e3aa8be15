"""Times as people write them, through whichever face: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from clearwell.errors import ConfigError

_DURATION = re.compile(r"([0-9]{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_time(text: str, name: str, *, alternative: str = "") -> datetime:
    """A time in UTC; a date is its first instant, a duration counts back from now.

    name: what the face calls the value, for the error. alternative: what else may be written there, in words.
    Raises ConfigError (code "not_a_time").
    """
    try:
        if (age := _duration(text)) is not None:
            return datetime.now(UTC) - age
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f'{name} "{text[:40]}" is not a time{alternative and f", nor {alternative}"}: write 2026-11-27, '
            "2026-11-27T14:00:00Z (UTC where no offset is named), or how long ago: 2h, 7d.",
            code="not_a_time",
        ) from None


def parse_range(start: str | None, end: str | None, names: tuple[str, str]) -> tuple[datetime | None, datetime]:
    """A range; None for an open beginning, now for an open end. Raises as `parse_time`, also for crossed ends."""
    first = None if start is None else parse_time(start, names[0])
    last = datetime.now(UTC) if end is None else parse_time(end, names[1])
    if first is not None and first > last:
        raise ConfigError(f"{names[0]} is after {names[1]}.", code="not_a_time")
    return first, last


def parse_duration(text: str, name: str) -> timedelta:
    """A duration such as 30s, 5m, 24h or 7d; a number alone counts days. Raises ConfigError (code "not_a_duration")."""
    duration = _duration(f"{text}d" if text.isdecimal() else text)
    if duration is None:
        raise ConfigError(f'{name} "{text[:40]}" is not a duration: write 30s, 5m, 24h or 7d.', code="not_a_duration")
    return duration


def _duration(text: str) -> timedelta | None:
    match = _DURATION.match(text)
    return None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})

"""Times as people write them: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from clearwell.errors import ConfigError

_AGE = re.compile(r"([0-9]{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, wrong: str) -> datetime:
    """A time in UTC. Raises ConfigError: `wrong`, and how times are written."""
    try:
        if age := _AGE.match(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{wrong}: write 2026-11-27, 2026-11-27T14:00:00Z (UTC where no offset is given), or 2h, 7d."
        ) from None

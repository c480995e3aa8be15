"""Where a backfill begins and ends: a raw offset of every partition, or a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from clearwell.errors import ConfigError


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One end of a range. Exactly one is set: `offset` (of every partition), or `time` (Unix milliseconds)."""

    offset: int | None = None
    time: int | None = None

    def __str__(self) -> str:
        if self.time is None:
            return f"offset {self.offset}"
        return datetime.fromtimestamp(self.time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str, option: str) -> Bound:
    """Digits are an offset; else ISO 8601, in UTC where it names no zone. Raises ConfigError naming `option`."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return Bound(offset=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f'{option} "{text}" is neither an offset nor a time: write 5000, 2013-01-01 or 2013-01-01T06:00:00Z.'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Bound(time=int(moment.timestamp() * 1000))

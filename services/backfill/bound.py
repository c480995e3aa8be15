"""Where a backfill begins and ends: a raw offset of every partition, or a moment."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from clearwell.control.times import parse_time


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One end of a range. Exactly one is set: `offset` (of every partition), or `time` (Unix milliseconds)."""

    offset: int | None = None
    time: int | None = None

    def __str__(self) -> str:
        if self.time is None:
            return f"offset {self.offset}"
        return datetime.fromtimestamp(self.time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str, option: str) -> Bound:
    """Digits are an offset; else a time. Raises ConfigError naming `option`."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return Bound(offset=int(text))
    time = parse_time(text, option, alternative="an offset such as 5000")
    return Bound(time=int(time.timestamp() * 1000))

"""Where reading a table has come to, and what is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from clearwell.errors import ConfigError
from clearwell.source import SourcePosition
from connectors.sql.places import Place
from connectors.sql.window import SeenRows


class SqlPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """`after`: the values, in the order of reading (cursor, then key), of the last row read.

    `window`: fingerprints of the rows after `floor` (none: from the first row) up to `after`, which are looked at
    again. `aside`: of rows that have no place in the order, since their cursor is null or beyond all times.
    """

    after: Place | None = None
    floor: Place | None = None
    window: str | None = None
    aside: str | None = None


@dataclass(frozen=True, slots=True)
class SqlReadPlan:
    """How to read, from the configuration; `delay` in seconds, `page` and `lookback` in rows."""

    incremental: bool
    page: int
    lookback: int
    delay: float
    zone: tzinfo


def known(written: str | None) -> SeenRows:
    """The rows of a fingerprint list. Raises ConfigError when it is none."""
    try:
        return SeenRows(written or "")
    except ValueError:
        raise ConfigError("The position's list of known rows is damaged: set it right, or reset it.") from None

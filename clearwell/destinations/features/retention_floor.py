"""How far back the tiles of a view are kept: its floor, an instant that only ever rises.

A tile that begins before the floor is not kept: none is made any more, and those that are there are removed. No window
that begins before it has a value. So what is served is exact wherever the floor is, whichever event comes when, and a
tile beneath it that a race or a crash left behind is never read. See docs/decisions/0011-features.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from clearwell.contract.features import MICROSECOND, FeatureView
from clearwell.destinations.features.tiles import EPOCH, microseconds
from clearwell.destinations.postgres.positions import SCHEMA

_NONE = timedelta(0)
_EARLIEST = microseconds(datetime.min.replace(tzinfo=UTC))

_TABLE = Identifier(SCHEMA, "floors")

CREATE = f"""
CREATE TABLE {SCHEMA}.floors (
    view_name text PRIMARY KEY,
    floor timestamp with time zone NOT NULL,
    beneath bigint NOT NULL DEFAULT 0
)
"""

READ = SQL("SELECT floor FROM {} WHERE view_name = %s").format(_TABLE).as_bytes()

_RAISE = SQL("""
INSERT INTO {} AS known (view_name, floor) VALUES (%s, %s)
ON CONFLICT (view_name) DO UPDATE SET floor = greatest(known.floor, excluded.floor)
RETURNING floor
""").format(_TABLE)

_NOTE = SQL("UPDATE {} SET beneath = beneath + %s WHERE view_name = %s").format(_TABLE)
_FORGET = SQL("DELETE FROM {} WHERE view_name = %s").format(_TABLE)
_BENEATH = SQL("SELECT beneath FROM {} WHERE view_name = %s").format(_TABLE)


def wanted(view: FeatureView, newest: datetime) -> datetime | None:
    """What the floor may be when the newest event of the view is of `newest`; None: nothing is so old.

    At any instant that is up to ttl and lateness before the newest event all windows have their values.
    """
    at = microseconds(newest) - reach(view) - view.lateness // MICROSECOND - (view.ttl or _NONE) // MICROSECOND
    return None if at <= _EARLIEST else EPOCH + timedelta(microseconds=at)


def whole_since(view: FeatureView, floor: datetime) -> datetime:
    """The first instant from which on all windows have their values."""
    return floor + timedelta(microseconds=reach(view))


def reach(view: FeatureView) -> int:
    """How far before an instant the windows of a view may begin, in microseconds."""
    windows = [feature.window for feature in view.aggregated if feature.window is not None]
    return max((window.length // MICROSECOND + window.slide // MICROSECOND for window in windows), default=0)


def read(connection: Connection[Any], view: str) -> datetime | None:
    """The floor; None: there is none yet, and every tile is there."""
    row = connection.execute(READ, (view,)).fetchone()
    return None if row is None else row[0]


def raise_to(connection: Connection[Any], view: str, floor: datetime) -> datetime:
    """Raise the floor to `floor`, where it is lower; returns what it is now."""
    row = connection.execute(_RAISE, (view, floor)).fetchone()
    assert row is not None
    raised: datetime = row[0]
    return raised


def forget(connection: Connection[Any], view: str) -> None:
    """Of a view that begins anew: there is no floor any more."""
    connection.execute(_FORGET, (view,))


def note_beneath(connection: Connection[Any], view: str, events: int) -> None:
    """Count events that came when the tile they belong into was not kept any more."""
    connection.execute(_NOTE, (events, view))


def beneath(connection: Connection[Any], view: str) -> int:
    """How many such events there were."""
    row = connection.execute(_BENEATH, (view,)).fetchone()
    return int(row[0]) if row else 0

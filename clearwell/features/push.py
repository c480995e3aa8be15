"""Rows that come through Feast, not through Kafka: into the same table, by the same guard (invariant 4).

A pushed row has an event time, but no raw record. It is kept under the raw topic PUSHED, and its place among pushed
rows of the same event time is when it was created (0 where nobody says). So the later event time wins; of equal ones a
delivered row wins over a pushed one, whichever comes first; of two pushed ones the later created, then the one written
later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg.sql import SQL, Composed, Identifier, Literal

from clearwell.contract.features import FeatureView
from clearwell.destinations.features.ddl import EVENT_TIME, ROWS
from clearwell.destinations.features.read import Session
from clearwell.destinations.features.tiles import microseconds
from clearwell.destinations.postgres.ddl import DELIVERED_AT
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.errors import ConfigError

PUSHED = "feast"
"""Not the id of any topic: those have 22 characters."""

Row = tuple[Any, ...]
"""Keys, plain features, event time, created: a time or None."""


def write_pushed(session: Session, view: FeatureView, rows: Sequence[Row]) -> None:
    """Upsert in one transaction, in the order of the keys, as all who write to a view do. Raises as psycopg does."""
    keys = len(view.entity.keys)
    with session.transaction(), session.cursor() as cursor:
        ordered = sorted(rows, key=lambda row: row[:keys])
        placed = [(*row[:-1], PUSHED, -1, 0 if row[-1] is None else microseconds(row[-1])) for row in ordered]
        cursor.executemany(_upsert(view), placed)


def check_times(view: FeatureView, times: Iterable[datetime]) -> None:
    """Raise ConfigError where a time is so far ahead of the clock that no event would ever replace its row."""
    limit = datetime.now(UTC) + view.ahead
    if any(time > limit for time in times):
        raise ConfigError(
            f'The event time of a row is further ahead of the clock than `ahead` of the view "{view.name}" allows: '
            "is a clock wrong, or a time zone?"
        )


def aware(time: datetime) -> datetime:
    """A time as Feast hands it over: what has no time zone is in UTC, whatever that of the process or the server."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _upsert(view: FeatureView) -> Composed:
    keys = [key.name for key in view.entity.keys]
    names = [*keys, *(feature.name for feature in view.plain), EVENT_TIME, RAW_TOPIC, RAW_PARTITION, RAW_OFFSET]
    updates = [SQL("{0} = excluded.{0}").format(Identifier(name)) for name in names[len(keys) :]]
    updates.append(SQL("{} = now()").format(Identifier(DELIVERED_AT)))
    return SQL(
        "INSERT INTO {table} AS stored ({names}) VALUES ({values}) ON CONFLICT ({keys}) DO UPDATE SET {updates} "
        "WHERE excluded.{time} > stored.{time} OR stored.{time} IS NULL OR (excluded.{time} = stored.{time} "
        "AND stored.{topic} = {pushed} AND excluded.{offset} >= stored.{offset})"
    ).format(
        table=Identifier(ROWS, view.name),
        names=SQL(", ").join(map(Identifier, names)),
        values=SQL(", ").join([SQL("%s")] * len(names)),
        keys=SQL(", ").join(map(Identifier, keys)),
        updates=SQL(", ").join(updates),
        time=Identifier(EVENT_TIME),
        topic=Identifier(RAW_TOPIC),
        offset=Identifier(RAW_OFFSET),
        pushed=Literal(PUSHED),
    )

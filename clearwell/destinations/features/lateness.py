"""Which events come too late for a view's windows: of its entity's newest event before it, by more than `lateness`.

An entity's own events alone count, for files and tables come sorted by entity as often as by time. And what was before
the view began is history: no window of then was ever served, so nothing that is read of it, in whatever order, is late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier

from clearwell.contract.features import FeatureView
from clearwell.destinations.features.ddl import EVENT_TIME, ROWS
from clearwell.destinations.features.tiles import Entity
from clearwell.destinations.postgres.ddl import STAGING
from clearwell.destinations.postgres.positions import SCHEMA
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

_TABLE = Identifier(SCHEMA, "views")

CREATE = f"""
CREATE TABLE {SCHEMA}.views (
    view_name text PRIMARY KEY,
    began timestamp with time zone NOT NULL
)
"""

_BEGIN = SQL("INSERT INTO {} (view_name, began) VALUES (%s, %s) ON CONFLICT DO NOTHING").format(_TABLE)
_BEGAN = SQL("SELECT began FROM {} WHERE view_name = %s").format(_TABLE)


class Newest(NamedTuple):
    """The newest event of an entity: its time, and its raw record."""

    time: datetime
    topic: str
    partition: int
    offset: int


class ArrivedEvent(NamedTuple):
    """An event of a batch, in the order of the batch."""

    entity: Entity
    newest: Newest
    place: int


def begin(connection: Connection[Any], view: str, now: datetime) -> datetime:
    """When the view began to be served: `now`, if it never did before."""
    connection.execute(_BEGIN, (view, now))
    row = connection.execute(_BEGAN, (view,)).fetchone()
    assert row is not None
    began: datetime = row[0]
    return began


def newest_of_staged(view: FeatureView) -> Composed:
    """The newest event, before this batch, of each entity that is in the staging table of the newest rows."""
    keys = [key.name for key in view.entity.keys]
    same = [SQL("stored.{0} = staged.{0}").format(Identifier(key)) for key in keys]
    columns = [*keys, EVENT_TIME, RAW_TOPIC, RAW_PARTITION, RAW_OFFSET]
    return SQL("SELECT {} FROM {} staged JOIN {} stored ON {} WHERE stored.{} IS NOT NULL").format(
        SQL(", ").join(SQL("stored.{}").format(Identifier(column)) for column in columns),
        STAGING,
        Identifier(ROWS, view.name),
        SQL(" AND ").join(same),
        Identifier(EVENT_TIME),
    )


def as_newest(rows: Iterable[Sequence[Any]], keys: int) -> dict[Entity, Newest]:
    """What `newest_of_staged` found, by entity of so many keys."""
    return {tuple(row[:keys]): Newest(*row[keys:]) for row in rows}


def late_places(
    view: FeatureView, began: datetime, newest: dict[Entity, Newest], events: Iterable[ArrivedEvent]
) -> set[int]:
    """The places of the late ones; goes on from `newest` and changes it. Pure.

    One that comes after events of its raw partition which it was before, such as a dead letter that was mended, is not
    judged by those.
    """
    late = set()
    for entity, event, index in events:
        known = newest.get(entity)
        if known is not None and event.time >= began and known.time - event.time > view.lateness:
            same_partition = known[1:3] == event[1:3]
            if not (same_partition and known.offset > event.offset):
                late.add(index)
        if known is None or event.time > known.time:
            newest[entity] = event
    return late

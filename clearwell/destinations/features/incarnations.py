"""In which order a view met the incarnations of its raw topic: one order of its events, online and in its history.

Raw offsets order the events of one incarnation. Of two, the one that the view met later is the later one, whenever a
single event of theirs arrives: a dead letter of the former that is mended after the topic was made again stays older.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier, Literal

from clearwell.destinations.postgres.positions import SCHEMA
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

_TABLE = Identifier(SCHEMA, "incarnations")

CREATE = f"""
CREATE TABLE {SCHEMA}.incarnations (
    view_name text NOT NULL,
    topic_id text NOT NULL,
    rank bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (view_name, topic_id)
)
"""

_MEET = SQL("INSERT INTO {} (view_name, topic_id) VALUES (%s, %s) ON CONFLICT DO NOTHING").format(_TABLE)
_RANKS = SQL("SELECT topic_id, rank FROM {} WHERE view_name = %s").format(_TABLE)


def meet(connection: Connection[Any], view: str, topics: Iterable[str]) -> None:
    """These topics have come to the view, in this order; call it in the transaction that writes their events."""
    for topic in topics:
        connection.execute(_MEET, (view, topic))


def ranks(connection: Connection[Any], view: str) -> Mapping[str, int]:
    """The later, the higher; one that is not there was met before all others."""
    return dict(connection.execute(_RANKS, (view,)).fetchall())


def is_later(view: str) -> Composed:
    """Of an upsert: whether the new row's record, of another incarnation or partition, is later than the stored one's.

    Within an incarnation the order is total, as that of `clearwell.features.timeline`: the events of one entity come by
    several partitions at once, and their arrival is nowhere in the history.
    """
    rank = "coalesce((SELECT rank FROM {table} WHERE view_name = {view} AND topic_id = {row}.{topic}), 0)"
    parts = {"table": _TABLE, "view": Literal(view), "topic": Identifier(RAW_TOPIC)}
    new, stored = (SQL(rank).format(**parts, row=SQL(row)) for row in ("excluded", "stored"))
    return SQL(
        "CASE WHEN excluded.{topic} <> stored.{topic} THEN {new} >= {old} "
        "ELSE (excluded.{offset}, excluded.{partition}) >= (stored.{offset}, stored.{partition}) END"
    ).format(
        topic=Identifier(RAW_TOPIC), new=new, old=stored,
        offset=Identifier(RAW_OFFSET), partition=Identifier(RAW_PARTITION),
    )  # fmt: skip

"""Removes the tiles of a view that begin before its floor: no window can be asked for them (`retention_floor`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier, Literal

from clearwell.contract.features import FeatureView
from clearwell.destinations.features.ddl import START, TILES

BLOCKS = 4_096
"""Blocks of the table (of 8 KiB, usually) that one transaction goes through."""

_BLOCKS_OF = "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::bigint"


def prune(
    connection: Connection[Any], view: FeatureView, floor: datetime, first: int = 0, most: int | None = None
) -> tuple[int, int]:
    """Remove tiles that begin before `floor`, block by block from `first` on, at most `most` times BLOCKS.

    Returns how many were removed, and the block to go on from another time: 0 when the end was reached. Each BLOCKS
    are a transaction, so give a connection in autocommit; what others have locked is left to the next time.
    """
    table = Identifier(TILES, view.name)
    row = connection.execute(_BLOCKS_OF, (table.as_string(connection),)).fetchone()
    last = int(row[0]) if row else 0
    ends = range(first + BLOCKS, last + BLOCKS, BLOCKS)[:most]
    removed = 0
    for end in ends:
        removed += connection.execute(_delete(view, end - BLOCKS, end), (floor,)).rowcount
    reached = ends[-1] if ends else last
    return removed, reached if reached < last else 0


def count(connection: Connection[Any], view: FeatureView, floor: datetime) -> tuple[int, int]:
    """How many tiles there are, and how many of them begin before `floor`; reads the whole table."""
    query = SQL("SELECT count(*), count(*) FILTER (WHERE {} < %s) FROM {}").format(
        Identifier(START), Identifier(TILES, view.name)
    )
    row = connection.execute(query, (floor,)).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _delete(view: FeatureView, first: int, end: int) -> Any:
    """By place, not by key: one pass goes through the table once, without an index of starts."""
    return SQL(
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE ctid >= {first} AND ctid < {end} "
        "AND {start} < %s FOR UPDATE SKIP LOCKED))"
    ).format(
        table=Identifier(TILES, view.name),
        first=Literal(f"({first},0)"),
        end=Literal(f"({end},0)"),
        start=Identifier(START),
    )

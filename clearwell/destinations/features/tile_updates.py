"""Adds events to the tiles of a view: made in Python, merged into the stored ones by one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import compress
from typing import Any

from psycopg import Connection

from clearwell.contract.features import MICROSECOND, FeatureView
from clearwell.destinations.features import ddl as features_ddl
from clearwell.destinations.features import retention_floor
from clearwell.destinations.features.tiles import EPOCH, TileBuilder, microseconds
from clearwell.destinations.protocol import CleanBatch


def add(
    session: Connection[Any], view: FeatureView, names: Sequence[str], batch: CleanBatch, places: Sequence[int]
) -> None:
    """Add the events at `places` of the batch, whose columns are `names`; each is to be added once.

    Those whose tile is not kept any more are counted instead. Call it in the transaction that notes them as seen, with
    the staging table of `features_ddl` there.
    """
    builder = TileBuilder(view, names)
    kept = _kept(view, retention_floor.read(session, view.name), [batch.rows[index] for index in places], names)
    beneath = kept.count(False)
    if beneath:
        retention_floor.note_beneath(session, view.name, beneath)
    for index in compress(places, kept):
        builder.add(batch.rows[index], batch.raw_topics[index], batch.partition, batch.raw_offsets[index])
    if not builder.tiles:
        return
    with session.cursor() as cursor, cursor.copy(features_ddl.copy_to_staging()) as copy:
        copy.set_types([column.wire for column in features_ddl.tile_columns(view)])
        for row in _rows(builder):
            copy.write_row(row)
    session.execute(features_ddl.add_tiles(view))


def _kept(view: FeatureView, floor: datetime | None, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> list[bool]:
    """Of each row, whether the tile that it belongs into begins at the floor or after."""
    assert view.tile is not None
    if floor is None:
        return [True] * len(rows)
    size, time, lowest = view.tile // MICROSECOND, names.index(view.event_time), microseconds(floor)
    lowest += -lowest % size  # no tile begins between the floor and here
    return [microseconds(row[time]) >= lowest for row in rows]


def _rows(builder: TileBuilder) -> Iterator[tuple[Any, ...]]:
    for entity, tiles in sorted(builder.tiles.items()):
        for start, tile in sorted(tiles.items()):
            values = [
                value
                for part, partial in zip(builder.parts, tile, strict=True)
                for value in features_ddl.stored(part, partial)
            ]
            yield (*entity, EPOCH + timedelta(microseconds=start), *values)

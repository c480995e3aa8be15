"""Adds events to the tiles of a view: made in Python, merged into the stored ones by one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from psycopg import Connection

from clearwell.contract.features import FeatureView
from clearwell.destinations import features_ddl
from clearwell.destinations.features_tiles import EPOCH, TileBuilder
from clearwell.destinations.protocol import CleanBatch


def add(
    session: Connection[Any], view: FeatureView, names: Sequence[str], batch: CleanBatch, places: Iterable[int]
) -> None:
    """Add the events at `places` of the batch, whose columns are `names`; each is to be added once.

    Call it in the transaction that notes them as seen, with the staging table of `features_ddl` there.
    """
    builder = TileBuilder(view, names)
    for place in places:
        builder.add(batch.rows[place], batch.raw_topics[place], batch.partition, batch.raw_offsets[place])
    if not builder.tiles:
        return
    with session.cursor() as cursor, cursor.copy(features_ddl.copy_to_staging()) as copy:
        copy.set_types([column.wire for column in features_ddl.tile_columns(view)])
        for row in _rows(builder):
            copy.write_row(row)
    session.execute(features_ddl.add_tiles(view))


def _rows(builder: TileBuilder) -> Iterator[tuple[Any, ...]]:
    for entity, tiles in sorted(builder.tiles.items()):
        for start, tile in sorted(tiles.items()):
            values = [
                value for part, one in zip(builder.parts, tile, strict=True) for value in features_ddl.stored(part, one)
            ]
            yield (*entity, EPOCH + timedelta(microseconds=start), *values)

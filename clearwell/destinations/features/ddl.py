"""A feature view as PostgreSQL: one wide table of the newest values, one table of tiles. Pure: composes statements.

The view's rows are in the schema `clearwell_features`, its tiles in `clearwell_tiles`, both in a table called as the
view: no name is made longer, so none can collide at PostgreSQL's 63 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from psycopg.sql import SQL, Composed, Identifier, Literal

from clearwell.contract.features import FeatureView
from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.features.tiles import SKETCH, WHOLE, Last, PartialAggregate, PartKind, Tile, parts_of
from clearwell.destinations.postgres import ddl

ROWS = "clearwell_features"
TILES = "clearwell_tiles"
EVENT_TIME = "_event_time"
START = "_start"
TAKEN = ddl.TAKEN | {START}

STAGING = Identifier("pg_temp", "clearwell_tiles_staging")

_LAST = ((".at", "timestamp with time zone"), (".offset", "bigint"), (".partition", "integer"), (".topic", "text"))
_WIRE = {"timestamp with time zone": "timestamptz", "bigint": "int8", "integer": "int4", "text": "text"}


class Column(NamedTuple):
    """A column of the table of tiles: its type there, and its type in binary COPY."""

    name: str
    final: str
    wire: str


def rows_schema(view: FeatureView) -> CleanSchema:
    """The wide table as a schema: entity keys, plain features, event time."""
    keys = [replace(key, required=True) for key in view.entity.keys]
    plain = [replace(feature.source, name=feature.name, required=False) for feature in view.plain]
    time = Field(EVENT_TIME, Type.TIMESTAMP)
    names = tuple(key.name for key in keys)
    return CleanSchema(view.name, view.version, (*keys, *plain, time), names, names[0], EVENT_TIME)


def tile_columns(view: FeatureView) -> list[Column]:
    """Entity keys, start, and the columns of each part."""
    keys = [Column(key.name, *ddl.column_type(key)) for key in view.entity.keys]
    columns = [*keys, Column(START, "timestamp with time zone", "timestamptz")]
    for part in parts_of(view):
        columns += _part_columns(part)
    return columns


def part_name(part: PartialAggregate, suffix: str = "") -> str:
    """The name of a part's column; what is longer than PostgreSQL's 63 bytes ends in a hash of the whole."""
    whole = part.name + suffix
    if len(whole) <= 63:
        return whole
    return f"{whole[:46]}~{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _part_columns(part: PartialAggregate) -> list[Column]:
    name = part_name(part)
    if part.kind is PartKind.COUNT:
        return [Column(name, "bigint", "int8")]
    if part.kind is PartKind.SUM:
        return [Column(name, "numeric", "numeric")]
    if part.kind is PartKind.DISTINCT:
        return [Column(name, "bigint[]", "int8[]")]
    value = Column(name, *ddl.column_type(part.field))
    if part.kind is PartKind.LAST:
        return [value, *(Column(part_name(part, suffix), type_, _WIRE[type_]) for suffix, type_ in _LAST)]
    return [value]


def stored(part: PartialAggregate, value: Any) -> Sequence[Any]:
    """A partial aggregate as the values of its columns."""
    if part.kind is PartKind.DISTINCT:
        return (sorted(value)[:SKETCH],)
    if part.kind is PartKind.LAST:
        return (None,) * 5 if value is None else (value.value, value.at, value.offset, value.partition, value.topic)
    return (value,)


def restored(parts: Sequence[PartialAggregate], values: Sequence[Any]) -> Tile:
    """The tile that a row's columns hold, from those of the first part on."""
    tile: Tile = []
    index = 0
    for part in parts:
        value = values[index]
        if part.kind is PartKind.LAST:
            tile.append(None if values[index + 1] is None else Last._make((*values[index + 1 : index + 5], value)))
        elif part.kind is PartKind.DISTINCT:
            tile.append(set(value))
        elif part.kind is PartKind.SUM and part.field.type in WHOLE:
            tile.append(int(value))
        else:
            tile.append(value)
        index += 5 if part.kind is PartKind.LAST else 1
    return tile


def create_tiles(view: FeatureView) -> Composed:
    """CREATE TABLE of the tiles; the primary key is the entity and the start."""
    columns = tile_columns(view)
    return SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
        Identifier(TILES, view.name), _typed((column.name, column.final) for column in columns), _names(_key(view))
    )


def create_staging(view: FeatureView, *, passing: bool = False) -> Composed:
    """The session's temporary table for the tiles of one batch; `passing`: the transaction's."""
    columns = _typed((column.name, column.wire) for column in tile_columns(view))
    end = SQL("DROP" if passing else "DELETE ROWS")
    return SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT {}").format(STAGING, columns, end)


def copy_to_staging() -> Composed:
    """Binary COPY into it."""
    return SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(STAGING)


def add_tiles(view: FeatureView) -> Composed:
    """Merge the staged tiles into the stored ones: what `features_tiles.merged` does, in SQL."""
    names = [column.name for column in tile_columns(view)]
    updates = [update for part in parts_of(view) for update in _merge(part)]
    return SQL(
        "INSERT INTO {table} AS stored ({names}) SELECT {names} FROM {staging} ORDER BY {key} "
        "ON CONFLICT ({key}) DO UPDATE SET {updates}"
    ).format(
        table=Identifier(TILES, view.name),
        names=_names(names),
        staging=STAGING,
        key=_names(_key(view)),
        updates=SQL(", ").join(updates),
    )


_MERGE_ONE = {
    PartKind.COUNT: SQL("{0} = stored.{0} + excluded.{0}"),
    PartKind.SUM: SQL("{0} = stored.{0} + excluded.{0}"),
    PartKind.MIN: SQL("{0} = least(stored.{0}, excluded.{0})"),
    PartKind.MAX: SQL("{0} = greatest(stored.{0}, excluded.{0})"),
    PartKind.DISTINCT: SQL(
        "{0} = ARRAY(SELECT DISTINCT one FROM unnest(stored.{0} || excluded.{0}) AS one ORDER BY one LIMIT {1})"
    ),
}

_MERGE_LAST = SQL(
    "{column} = CASE WHEN stored.{at} IS NULL OR (excluded.{at}, excluded.{offset}, excluded.{partition}, "
    'excluded.{topic} COLLATE "C") > (stored.{at}, stored.{offset}, stored.{partition}, stored.{topic} COLLATE "C") '
    "THEN excluded.{column} ELSE stored.{column} END"
)


def _merge(part: PartialAggregate) -> list[Composed]:
    if part.kind is not PartKind.LAST:
        return [_MERGE_ONE[part.kind].format(Identifier(part_name(part)), Literal(SKETCH))]
    places = {suffix[1:]: Identifier(part_name(part, suffix)) for suffix, _ in _LAST}
    return [_MERGE_LAST.format(column=Identifier(column.name), **places) for column in _part_columns(part)]


def _key(view: FeatureView) -> list[str]:
    return [*(key.name for key in view.entity.keys), START]


def _typed(columns: Iterable[tuple[str, str]]) -> Composed:
    return SQL(", ").join(SQL("{} {}").format(Identifier(name), SQL(type_)) for name, type_ in columns)


def _names(names: Iterable[str]) -> Composed:
    return SQL(", ").join(Identifier(name) for name in names)

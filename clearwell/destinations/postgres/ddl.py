"""The clean schema as PostgreSQL: columns, tables and the guarded upsert. Pure: composes statements, runs none.

Names come from the contract alone and are quoted by `psycopg.sql`; `shape.check_schema` has judged them before.
Only the key and our own columns are NOT NULL: whether a field is required is the pipeline's to enforce, and a later
version may stop requiring it while the table stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from psycopg.sql import SQL, Composable, Composed, Identifier

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.shape import IDENTITY, RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

DELIVERED_AT = "_delivered_at"
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
TAKEN = frozenset((*IDENTITY, DELIVERED_AT, *_SYSTEM_COLUMNS))
"""Names that a field can't have."""

_ARRIVES = SQL("TRUE")
"""Of two incarnations or partitions of raw, the row that arrives later is newer."""

STAGING = Identifier("pg_temp", "clearwell_staging")


_INTEGER_DIGITS = {"integer": 10, "bigint": 19}
_NUMERIC = re.compile(r"numeric\(([0-9]+),([0-9]+)\)")


class ColumnType(NamedTuple):
    """`final` is the type in the table, spelled as `format_type` does; `wire` is the type of the staging column."""

    final: str
    wire: str


_SCALARS = {
    Type.STRING: ColumnType("text", "text"),
    # Staged as int8: binary COPY would silently wrap a Python int into int4, INSERT ... SELECT refuses it.
    Type.INT32: ColumnType("integer", "int8"),
    Type.INT64: ColumnType("bigint", "int8"),
    Type.FLOAT64: ColumnType("double precision", "float8"),
    Type.BOOL: ColumnType("boolean", "bool"),
    Type.TIMESTAMP: ColumnType("timestamp with time zone", "timestamptz"),
    Type.DATE: ColumnType("date", "date"),
    Type.JSON: ColumnType("jsonb", "jsonb"),
    Type.BYTES: ColumnType("bytea", "bytea"),
}
_OURS = {
    RAW_TOPIC: "text NOT NULL",
    RAW_PARTITION: "integer NOT NULL",
    RAW_OFFSET: "bigint NOT NULL",
    DELIVERED_AT: "timestamp with time zone NOT NULL DEFAULT now()",
}


def column_type(field: Field) -> ColumnType:
    """The PostgreSQL types of one field."""
    stored = field.clean_type
    if stored is Type.LIST:
        item = _scalar(field.items or Type.STRING, field)
        return ColumnType(f"{item.final}[]", f"{item.wire}[]")
    return _scalar(stored, field)


def _scalar(type_: Type, field: Field) -> ColumnType:
    if type_ is Type.DECIMAL:
        return ColumnType(f"numeric({field.precision},{field.scale})", "numeric")
    return _SCALARS[type_]


def wire_types(schema: CleanSchema) -> list[str]:
    """The types of the staging columns in order: the fields, then raw topic and raw offset."""
    return [*(column_type(field).wire for field in schema.fields), "text", "int8"]


def create_table(schema: CleanSchema, table: str) -> Composed:
    """CREATE TABLE with typed columns; the primary key is the contract's key."""
    columns = [_column(field) for field in schema.fields]
    columns += [SQL("{} {}").format(Identifier(name), SQL(type_)) for name, type_ in _OURS.items()]
    return SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
        Identifier(table), SQL(", ").join(columns), _names(schema.key)
    )


def add_columns(table: str, fields: Iterable[Field]) -> Composed:
    """ALTER TABLE that adds nullable columns."""
    added = SQL(", ").join(SQL("ADD COLUMN {}").format(_column(field)) for field in fields)
    return SQL("ALTER TABLE {} {}").format(Identifier(table), added)


def widens(existing: str, declared: str) -> bool:
    """Whether every value of the column type `existing` is exactly one of `declared`, as `format_type` spells them."""
    if existing in _INTEGER_DIGITS and declared in ("bigint", "double precision"):
        return existing == "integer"
    to = _NUMERIC.fullmatch(declared)
    if to is None:
        return False
    whole, scale = int(to[1]) - int(to[2]), int(to[2])
    if existing in _INTEGER_DIGITS:
        return whole >= _INTEGER_DIGITS[existing]
    of = _NUMERIC.fullmatch(existing)
    return of is not None and existing != declared and scale >= int(of[2]) and whole >= int(of[1]) - int(of[2])


def widen_columns(table: str, types: Mapping[str, str]) -> Composed:
    """ALTER TABLE that gives columns wider types (see `widens`), by name."""
    changes = [SQL("ALTER COLUMN {} TYPE {}").format(Identifier(name), SQL(type_)) for name, type_ in types.items()]
    return SQL("ALTER TABLE {} {}").format(Identifier(table), SQL(", ").join(changes))


def create_staging(schema: CleanSchema, *, passing: bool = False) -> Composed:
    """The temporary table that a flush is copied into; each commit empties it or, with `passing`, drops it."""
    names = _staged(schema)
    columns = [
        SQL("{} {}").format(Identifier(name), SQL(type_)) for name, type_ in zip(names, wire_types(schema), strict=True)
    ]
    end = SQL("DROP" if passing else "DELETE ROWS")
    return SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT {}").format(STAGING, SQL(", ").join(columns), end)


def copy_to_staging() -> Composed:
    """Binary COPY into the staging table."""
    return SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(STAGING)


def guarded_upsert(schema: CleanSchema, table: str, later: Composable = _ARRIVES) -> Composed:
    """Staging into the table; a stored row is replaced only by a newer one (invariant 4, see `newest.py`).

    Takes one parameter, the raw partition. Keys must be distinct within the staging table. `later` says whether, of
    one event time, a row of another incarnation or partition of raw is newer.
    """
    names = _staged(schema)
    columns = [*names, RAW_PARTITION]
    changed = [name for name in columns if name not in schema.key]
    updates = [SQL("{0} = excluded.{0}").format(Identifier(name)) for name in changed]
    updates.append(SQL("{} = now()").format(Identifier(DELIVERED_AT)))
    return SQL(
        "INSERT INTO {table} AS stored ({columns}) SELECT {staged}, %(partition)s::integer FROM {staging} "
        "ON CONFLICT ({key}) DO UPDATE SET {updates} WHERE {newer}"
    ).format(
        table=Identifier(table),
        columns=_names(columns),
        staged=_names(names),
        staging=STAGING,
        key=_names(schema.key),
        updates=SQL(", ").join(updates),
        newer=_newer(schema.event_time, later),
    )


def _newer(event_time: str, later: Composable) -> Composed:
    return SQL(
        "(excluded.{time} > stored.{time} OR (stored.{time} IS NULL AND excluded.{time} IS NOT NULL) OR "
        "(excluded.{time} IS NOT DISTINCT FROM stored.{time} AND "
        "CASE WHEN excluded.{topic} <> stored.{topic} OR excluded.{partition} <> stored.{partition} THEN {later} "
        "ELSE excluded.{offset} >= stored.{offset} END))"
    ).format(
        later=later,
        time=Identifier(event_time),
        topic=Identifier(RAW_TOPIC),
        offset=Identifier(RAW_OFFSET),
        partition=Identifier(RAW_PARTITION),
    )


def _column(field: Field) -> Composed:
    return SQL("{} {}").format(Identifier(field.name), SQL(column_type(field).final))


def _staged(schema: CleanSchema) -> list[str]:
    return [*(field.name for field in schema.fields), RAW_TOPIC, RAW_OFFSET]


def _names(names: Iterable[str]) -> Composed:
    return SQL(", ").join(Identifier(name) for name in names)

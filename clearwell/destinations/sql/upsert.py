"""The guarded upsert of each dialect: a stored row is replaced only by a newer one (invariant 4, see `newest.py`).

MySQL, MariaDB, PostgreSQL and SQLite do it in one statement. Any other database reads the rows of the keys under a
lock, compares them here, and writes; all in the transaction of the position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from clearwell.contract.model import CleanSchema
from clearwell.destinations.newest import RowVersion, replaces
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.destinations.sql.column_types import MYSQL

Rows = Sequence[dict[str, Any]]
"""Rows by column name, all columns of the table in each; keys are distinct."""

Upsert = Callable[[Connection, Rows], None]
KEYS_AT_ONCE = 200
"""Keys that one query asks for: some databases take 2,000 parameters, and a key may have several."""


def upsert_of(table: Table, schema: CleanSchema, dialect: str) -> Upsert:
    """The upsert of `dialect`; call it inside a transaction."""
    if dialect in MYSQL:
        return _one_statement(_on_duplicate_key(table, schema))
    if dialect in ("postgresql", "sqlite"):
        return _one_statement(_on_conflict(table, schema, dialect))
    return _read_compare_write(table, schema)


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _one_statement(statement: Any) -> Upsert:
    def upsert(connection: Connection, rows: Rows) -> None:
        connection.execute(statement, list(rows))

    return upsert


def _on_conflict(table: Table, schema: CleanSchema, dialect: str) -> Any:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    changed = {name: insert.excluded[name] for name in _names(table) if name not in schema.key}
    return insert.on_conflict_do_update(
        index_elements=list(schema.key), set_=changed, where=_newer(table, schema, lambda name: insert.excluded[name])
    )


def _on_duplicate_key(table: Table, schema: CleanSchema) -> Any:
    """Each column is set to its new value where the new row is newer, else to what it is.

    MySQL sets columns one after the other, and conditions see what is set already. In this order it does not matter:
    first what the condition does not look at, then offset, partition, topic and time; where the condition held it
    holds all along. A row that meets another key by a unique index of the user's would overwrite that other row: the
    key becomes null then, which the table refuses.
    """
    guarded = (RAW_OFFSET, RAW_PARTITION, RAW_TOPIC, schema.event_time)

    def new(name: str) -> ColumnElement[Any]:
        return func.values(table.c[name], type_=table.c[name].type)

    same = and_(*(new(name) == table.c[name] for name in schema.key))
    newer = _newer(table, schema, new)
    plain = [name for name in _names(table) if name not in schema.key and name not in guarded]
    last = [name for name in guarded if name not in schema.key]
    first = schema.key[0]
    order = [(first, func.if_(same, table.c[first], None))]
    order += [(name, func.if_(newer, new(name), table.c[name])) for name in (*plain, *last)]
    return mysql.insert(table).on_duplicate_key_update(order)


def _newer(table: Table, schema: CleanSchema, new: Callable[[str], ColumnElement[Any]]) -> ColumnElement[bool]:
    stored = table.c
    time, topic = schema.event_time, RAW_TOPIC
    offset, partition = RAW_OFFSET, RAW_PARTITION
    later_record = or_(
        new(topic) != stored[topic],
        new(partition) != stored[partition],
        new(offset) >= stored[offset],
    )
    return or_(
        new(time) > stored[time],
        and_(stored[time].is_(None), new(time).is_not(None)),
        and_(new(time).is_not_distinct_from(stored[time]), later_record),
    )


def _read_compare_write(table: Table, schema: CleanSchema) -> Upsert:
    key = [table.c[name] for name in schema.key]
    versions = [schema.event_time, RAW_TOPIC, RAW_OFFSET, RAW_PARTITION]
    rest = [name for name in _names(table) if name not in schema.key]
    change = (
        update(table)
        .where(*(column == bindparam(f"key_{column.name}", type_=column.type) for column in key))
        .values({name: bindparam(f"new_{name}", type_=table.c[name].type) for name in rest})
    )

    def upsert(connection: Connection, rows: Rows) -> None:
        stored: dict[tuple[Any, ...], RowVersion] = {}
        for keys in _parts([tuple(row[name] for name in schema.key) for row in rows], KEYS_AT_ONCE):
            query = select(*key, *(table.c[name].label(f"v_{name}") for name in versions))
            for stored_row in connection.execute(query.where(_any_of(key, keys)).with_for_update()):
                stored[tuple(stored_row[: len(key)])] = RowVersion(*stored_row[len(key) :])
        fresh, newer = [], []
        for row in rows:
            row_key = tuple(row[name] for name in schema.key)
            if row_key not in stored:
                fresh.append(row)
            elif replaces(RowVersion(*(row[name] for name in versions)), stored[row_key]):
                newer.append(
                    {f"key_{name}": row[name] for name in schema.key} | {f"new_{name}": row[name] for name in rest}
                )
        if fresh:
            connection.execute(table.insert(), fresh)
        if newer:
            connection.execute(change, newer)

    return upsert


def _any_of(key: Sequence[Column[Any]], keys: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    if len(key) == 1:
        return key[0].in_([values for (values,) in keys])
    return or_(*(and_(*(column == value for column, value in zip(key, values, strict=True))) for values in keys))


def _parts(items: Sequence[tuple[Any, ...]], size: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    return (items[start : start + size] for start in range(0, len(items), size))

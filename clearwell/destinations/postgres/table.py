"""Makes the table of a stream, adds columns, widens types; anything else is a sentence for a person."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from clearwell.contract.model import CleanSchema
from clearwell.destinations.postgres import ddl
from clearwell.destinations.shape import IDENTITY, must_not_be_null
from clearwell.errors import ConfigError

LOCK = 0x636C656172  # "clear": one deliverer at a time makes tables

MOST_WIDENED = 10_000_000
"""Rows of the largest table that we write anew: some ten seconds."""

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = ''
FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
"""

_KEY = """
SELECT array_agg(attname::text ORDER BY place)
FROM pg_index, unnest(indkey::smallint[]) WITH ORDINALITY AS part (number, place)
JOIN pg_attribute ON attnum = number
WHERE indrelid = to_regclass(quote_ident(%(table)s)) AND attrelid = indrelid AND indisprimary
"""


def prepare(connection: Connection[Any], schema: CleanSchema, table: str) -> None:
    """Create `table` for `schema`, or add the columns it lacks; call it inside a transaction.

    Raises ConfigError when a column has another type, the key differs, or the table is not one of ours.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    columns = {name: (type_, needed) for name, type_, needed in connection.execute(_COLUMNS, (table,)).fetchall()}
    if not columns:
        connection.execute(ddl.create_table(schema, table))
        return
    if not columns.keys() >= set(IDENTITY):
        raise ConfigError(f'The table "{table}" exists and Clearwell did not make it: name another one in the route.')
    _check_key(connection, schema, table)
    wider = _check_types(columns, schema, table)
    if wider:
        _widen(connection, table, wider)
    missing = [field for field in schema.fields if field.name not in columns]
    if missing:
        connection.execute(ddl.add_columns(table, missing))


def is_there(connection: Connection[Any], table: str) -> bool:
    """Whether there is such a table."""
    row = connection.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (table,)).fetchone()
    return bool(row and row[0])


def is_foreign(schema: CleanSchema, column: str) -> bool:
    """Whether a column is neither a field of the contract nor one of our own."""
    return column not in ddl.TAKEN and all(column != field.name for field in schema.fields)


def _check_key(connection: Connection[Any], schema: CleanSchema, table: str) -> None:
    row = connection.execute(_KEY, {"table": table}).fetchone()
    key = tuple(row[0]) if row and row[0] else ()
    if set(key) != set(schema.key):
        raise ConfigError(
            f'The table "{table}" has the key ({", ".join(key)}) but the contract {schema.stream} v{schema.version} '
            f"has ({', '.join(schema.key)}): name another table in the route, and fill it by a backfill."
        )


def _check_types(columns: dict[str, tuple[str, bool]], schema: CleanSchema, table: str) -> dict[str, str]:
    """The columns that must become wider, with their new types. A wider one is another version's, and fine."""
    wider = {}
    for field in schema.fields:
        declared = ddl.column_type(field).final
        existing = columns.get(field.name, (declared, False))[0]
        if existing == declared or ddl.widens(declared, existing):
            continue
        if ddl.widens(existing, declared):
            wider[field.name] = declared
        else:
            raise ConfigError(
                f'The column "{field.name}" of the table "{table}" is {existing} but the contract {schema.stream} '
                f"v{schema.version} makes it {declared}: a changed type needs a new table in the route."
            )
    for name, (_, needed) in columns.items():
        if needed and is_foreign(schema, name):
            raise must_not_be_null(name, table, schema)
    return wider


def _widen(connection: Connection[Any], table: str, wider: dict[str, str]) -> None:
    """Give columns types that hold every value they have, exactly. The table is written anew, so not a large one.

    Raises ConfigError with what a person can do where we don't, or may not.
    """
    commands = ", ".join(f'ALTER COLUMN "{name}" TYPE {type_}' for name, type_ in wider.items())
    by_hand = f'run `ALTER TABLE "{table}" {commands}` in a quiet hour, or name a new table in the route'
    counted = connection.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(quote_ident(%s))", (table,))
    row = counted.fetchone()
    if row is not None and row[0] > MOST_WIDENED:
        raise ConfigError(f'The table "{table}" is too large to be widened while others wait: {by_hand}.')
    try:
        connection.execute(ddl.widen_columns(table, wider))
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege) as error:
        state = error.sqlstate
        raise ConfigError(
            f"The table \"{table}\" can't be widened by us ({state}: a view uses it, or it is another's): {by_hand}."
        ) from None

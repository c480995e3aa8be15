"""Makes the table of a stream, or widens it by added columns; anything else is a sentence. And its statements."""

# ruff: noqa: S608 - the statements are put together from checked and quoted names, and no values
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cassandra import InvalidRequest

from clearwell.contract.model import CleanSchema
from clearwell.destinations.cassandra.link import CassandraSession
from clearwell.destinations.cassandra.rows import OURS, columns
from clearwell.errors import ConfigError

_COUNTING_SECONDS = 600.0


def prepare(link: CassandraSession, schema: CleanSchema, table: str) -> None:
    """Create `table` for `schema`, or add the columns it lacks.

    Raises ConfigError when a column has another type, the key differs, or the table is not one of ours.
    """
    declared = columns(schema)
    existing = link.columns(table)
    if not existing:
        defined = ", ".join(f'"{name}" {of}' for name, of in declared.items())
        link.define(f'CREATE TABLE IF NOT EXISTS "{table}" ({defined}, PRIMARY KEY (({quoted(schema.key)})))')
        existing = link.columns(table)
    _check(existing, schema, declared, table)
    for name in declared.keys() - existing.keys():
        try:
            link.define(f'ALTER TABLE "{table}" ADD "{name}" {declared[name]}')
        except InvalidRequest:  # another deliverer was quicker
            if name not in link.columns(table):
                raise


def count(link: CassandraSession, table: str) -> int:
    """How many rows there are; reads all of them. 0 where there is no such table."""
    if not link.columns(table):
        return 0
    (row,) = link.run(f'SELECT COUNT(*) AS held FROM "{table}"', seconds=_COUNTING_SECONDS)
    return int(row["held"])


def insert_new(schema: CleanSchema, table: str) -> str:
    """Puts a row in where its key is not there yet; else answers with the row that is."""
    names = list(columns(schema))
    places = ", ".join(f":{_place(names, name)}" for name in names)
    return f'INSERT INTO "{table}" ({quoted(names)}) VALUES ({places}) IF NOT EXISTS'


def replace_known(schema: CleanSchema, table: str) -> str:
    """Replaces a row while its version is the one that is told; else answers with the version that is there."""
    names = list(columns(schema))
    changed = ", ".join(f'"{name}" = :{_place(names, name)}' for name in names if name not in schema.key)
    key = " AND ".join(f'"{name}" = :{_place(names, name)}' for name in schema.key)
    known = " AND ".join(f'"{name}" = :known{number}' for number, name in enumerate(OURS))
    return f'UPDATE "{table}" SET {changed} WHERE {key} IF {known}'


def values_of(row: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The places of the two statements, filled; `known` is the version that is replaced."""
    filled = {f"f{number}": value for number, value in enumerate(row.values())}
    if known is not None:
        filled |= {f"known{number}": known.get(name) for number, name in enumerate(OURS)}
    return filled


def quoted(names: Iterable[str]) -> str:
    """Names as CQL takes them whatever they are."""
    return ", ".join(f'"{name}"' for name in names)


def _place(names: list[str], name: str) -> str:
    """Places have names of their own: those of columns may be words of CQL, or differ in case alone."""
    return f"f{names.index(name)}"


def _check(
    existing: Mapping[str, Mapping[str, Any]], schema: CleanSchema, declared: Mapping[str, str], table: str
) -> None:
    version = f"{schema.stream} v{schema.version}"
    if not OURS.keys() <= existing.keys():
        raise ConfigError(f'The table "{table}" exists and Clearwell did not make it: name another one in the route.')
    parts = [row for row in existing.values() if row["kind"] != "regular"]
    key = [row["column_name"] for row in sorted(parts, key=lambda row: (row["kind"] == "clustering", row["position"]))]
    if tuple(key) != schema.key:
        raise ConfigError(
            f'The table "{table}" has the key ({", ".join(key)}) but the contract {version} has '
            f"({', '.join(schema.key)}): name another table in the route, and fill it by a backfill."
        )
    for name, of in declared.items():
        is_now = existing[name]["type"] if name in existing else of
        if is_now != of:
            raise ConfigError(
                f'The column "{name}" of the table "{table}" is {is_now} but the contract {version} makes it {of}: '
                "a changed type needs a new table in the route."
            )

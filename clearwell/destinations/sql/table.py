"""The table of a stream in any SQL database: made, widened by added columns, judged where it is there already."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from clearwell.contract.model import CleanSchema
from clearwell.destinations.shape import IDENTITY, RAW_OFFSET, RAW_PARTITION, RAW_TOPIC, must_not_be_null
from clearwell.destinations.sql.column_types import KEY_LENGTH, MYSQL, Utc, collation, column_type, text_type
from clearwell.errors import ConfigError

DELIVERED_AT = "_delivered_at"
TAKEN = frozenset((*IDENTITY, DELIVERED_AT))
"""Names that a field can't have."""

_JUDGED = ("sqlite", "postgresql", *MYSQL)
"""Dialects whose reflected types are known well enough to be compared."""

_SAME = {"BOOL": "TINYINT", "JSON": "LONGTEXT", "DOUBLE PRECISION": "DOUBLE"}
"""What MySQL and MariaDB call a type that was made under another name."""


def table_of(schema: CleanSchema, name: str, namespace: str | None, dialect: Dialect) -> Table:
    """The table as it should be. Raises ConfigError when two of its names are one to the database."""
    if dialect.name != "postgresql":
        _require_distinct([*(field.name for field in schema.fields), *TAKEN], dialect)
    columns: list[Column[Any]] = [
        Column(
            field.name,
            column_type(field, dialect, field.name in schema.key),
            nullable=field.name not in schema.key,
            autoincrement=False,
        )
        for field in schema.fields
    ]
    columns += [
        Column(RAW_TOPIC, text_type(dialect, KEY_LENGTH), nullable=False),
        Column(RAW_PARTITION, Integer(), nullable=False, autoincrement=False),
        Column(RAW_OFFSET, BigInteger(), nullable=False, autoincrement=False),
        Column(DELIVERED_AT, Utc(), nullable=False),
    ]
    return new_table(name, namespace, dialect, columns, schema.key)


def new_table(
    name: str, namespace: str | None, dialect: Dialect, columns: Collection[Column[Any]], key: Collection[str]
) -> Table:
    """A table with the primary key `key`, in the order of the key; InnoDB where there are several engines."""
    by_name = {column.name: column for column in columns}
    for key_name in key:
        by_name[key_name].primary_key = True
    ordered = [by_name[key_name] for key_name in key] + [column for column in columns if column.name not in key]
    options: dict[str, Any] = {
        f"{kind}_{option}": value
        for kind in MYSQL
        for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", collation(dialect)))
        if dialect.name in MYSQL
    }
    return Table(name, MetaData(), *ordered, schema=namespace, **options)


def prepare(connection: Connection, table: Table, schema: CleanSchema) -> None:
    """Create `table`, or add the columns it lacks.

    Raises ConfigError when a column has another type, the key differs, or the table is not one of ours.
    """
    inspector = inspect(connection)
    if not inspector.has_table(table.name, schema=table.schema):
        table.create(connection)
        return
    existing = {str(column["name"]): column for column in inspector.get_columns(table.name, schema=table.schema)}
    if not existing.keys() >= set(IDENTITY):
        raise ConfigError(
            f'The table "{table.name}" exists and Clearwell did not make it: name another one in the route.'
        )
    key = inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]
    if set(key) != set(schema.key):
        raise ConfigError(
            f'The table "{table.name}" has the key ({", ".join(key)}) but the contract {schema.stream} '
            f"v{schema.version} has ({', '.join(schema.key)}): name another table in the route, and fill it by a "
            "backfill."
        )
    _check_columns(existing, table, schema, connection.dialect)
    change = Operations(MigrationContext.configure(connection))
    for column in table.columns:
        if column.name not in existing:
            change.add_column(table.name, Column(column.name, column.type), schema=table.schema)


def _check_columns(existing: dict[str, Any], table: Table, schema: CleanSchema, dialect: Dialect) -> None:
    version = f"the contract {schema.stream} v{schema.version}"
    for name, column in existing.items():
        if name in table.columns:
            is_, declared = _spelled(column["type"], dialect), _spelled(table.columns[name].type, dialect)
            if is_ != declared and dialect.name in _JUDGED:
                raise ConfigError(
                    f'The column "{name}" of the table "{table.name}" is {is_} but {version} makes it {declared}: a '
                    "changed type needs a new table in the route."
                )
        elif not column["nullable"] and column["default"] is None and column.get("autoincrement") is not True:
            raise must_not_be_null(name, table.name, schema)


def _spelled(type_: TypeEngine[Any], dialect: Dialect) -> str:
    """A type in the database's words, without what reflection adds or leaves out."""
    text = re.split(r" COLLATE| CHARACTER", str(type_.compile(dialect=dialect)))[0]
    if dialect.name in MYSQL:
        text = re.sub(r"(INTEGER|INT|TINYINT)\(\d+\)", r"\1", text).replace("NUMERIC(", "DECIMAL(")
        text = _SAME.get(text, text)
    return text


def _require_distinct(names: Collection[str], dialect: Dialect) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ConfigError(
                f'"{other}" and "{name}" are one name to {dialect.name}, which does not tell capitals from small '
                "letters in columns: rename one of them."
            )

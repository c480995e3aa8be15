"""The contract's types as SQLAlchemy types, exact in every database that can be, and what a key's column needs.

Where a database is narrower than the contract: SQLite keeps decimals as their text; lists are JSON everywhere; MySQL
and MariaDB compare keys of at most KEY_LENGTH characters (InnoDB's index ends there).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, Integer, LargeBinary, Numeric, String, Text
from sqlalchemy import types as sql
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from clearwell.contract.model import Field, Type

KEY_LENGTH = 255
"""Characters, or bytes, of a text in a key, where a database does not take any length."""

MYSQL = ("mysql", "mariadb")


def collation(dialect: Dialect) -> str | None:
    """MySQL's usual collations take "a" and "A ", which are two keys, for one."""
    if dialect.name not in MYSQL:
        return None
    return "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"


class Utc(TypeDecorator[datetime]):
    """A timestamp to the microsecond: with its zone where the database knows of zones exactly, else as naive UTC."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's finest type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        if dialect.name in MYSQL:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into UTC."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Out of UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ExactText(TypeDecorator[Decimal]):
    """A decimal as its plain digits, for SQLite, whose NUMERIC is a float."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """To text."""
        return None if value is None else format(value, "f")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        """From text."""
        return None if value is None else Decimal(value)


class JsonText(TypeDecorator[Any]):
    """JSON as it is written, integers of any size exact: JSONB in PostgreSQL, text with a check or none elsewhere."""

    impl = sql.JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """JSONB where there is one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sql.JSON(none_as_null=True))


def to_json(value: Any) -> str:
    """For the engine: decimals as text, times in RFC 3339, bytes as base64, as in the clean topic."""
    return msgspec.json.encode(value).decode()


def from_json(text: str | bytes) -> Any:
    """For the engine."""
    return msgspec.json.decode(text)


def column_type(field: Field, dialect: Dialect, in_key: bool) -> TypeEngine[Any]:
    """The type of one field's column."""
    stored = field.clean_type
    if stored is Type.STRING:
        return text_type(dialect, KEY_LENGTH if in_key else None)
    if stored is Type.BYTES:
        return _bytes(dialect, in_key)
    if stored is Type.DECIMAL:
        return ExactText() if dialect.name == "sqlite" else Numeric(field.precision, field.scale)
    return _SCALARS[stored]


def text_type(dialect: Dialect, length: int | None) -> TypeEngine[Any]:
    """Text of at most `length` characters; None: of any length. SQLite and PostgreSQL take any length in keys too."""
    if length is None or dialect.name in ("sqlite", "postgresql"):
        return Text().with_variant(mysql.LONGTEXT(collation=collation(dialect)), *MYSQL)
    return String(length, collation=collation(dialect))


def _bytes(dialect: Dialect, in_key: bool) -> TypeEngine[Any]:
    if dialect.name in MYSQL:
        return mysql.VARBINARY(KEY_LENGTH) if in_key else mysql.LONGBLOB()
    return LargeBinary()


_SCALARS: dict[Type, TypeEngine[Any]] = {
    Type.INT32: Integer(),
    Type.INT64: BigInteger(),
    Type.FLOAT64: Double(),
    Type.BOOL: Boolean(),
    Type.TIMESTAMP: Utc(),
    Type.DATE: Date(),
    Type.JSON: JsonText(),
    Type.LIST: JsonText(),
}

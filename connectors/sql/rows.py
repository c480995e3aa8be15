"""Rows of a database as JSON, and what its types are to us."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import Column, types
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from clearwell.errors import ConfigError
from clearwell.source import Refusal
from connectors.sql import sqlite
from connectors.sql.places import ORDERED, python_type

_TYPES: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (types.Boolean, "bool"),
    (mysql.BIT, "int64"),
    (types.BigInteger, "int64"),
    (types.SmallInteger, "int32"),
    (types.Integer, "int64"),
    (types.Float, "float64"),
    (types.Numeric, "decimal"),
    (types.DateTime, "timestamp"),
    (types.Date, "date"),
    (types.LargeBinary, "bytes"),
    (types.JSON, "json"),
    (types.ARRAY, "json"),
)


def contract_type(kind: TypeEngine[Any]) -> str:
    """The contract's type for a column's; string for what it has no word for."""
    name_found = next((name for of, name in _TYPES if isinstance(kind, of)), None)
    return name_found or ("bytes" if python_type(kind) is bytes else "string")


def lossless(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type by which a column is read, where SQLAlchemy's own for MySQL loses something.

    Its DOUBLE comes as a decimal of ten digits after the point; its TIME, which MySQL has from -838 to 838 hours, as a
    time of day: an untyped column has what the driver gives.
    """
    if isinstance(kind, mysql.DOUBLE | mysql.FLOAT | mysql.REAL):
        return types.Double()
    return types.NullType() if isinstance(kind, mysql.TIME) else kind


class Unwritable(Exception):
    """A row holds a value that can't be written as JSON. `column` and `refusal` say which, and why."""

    def __init__(self, column: str, refusal: Refusal) -> None:
        super().__init__(column)
        self.column = column
        self.refusal = refusal


class RowEncoder:
    """Encodes rows of the same columns as JSON objects."""

    def __init__(self, columns: Sequence[Column[Any]], zone: tzinfo, stored: bool) -> None:
        """`zone` is what times without one are in; `stored`: values are as SQLite stores them, of any class."""
        self._names = [column.name for column in columns]
        change_of = sqlite.change_of if stored else _change_of
        self._changes: list[tuple[int, Callable[[Any], Any]]] = [
            (index, change)
            for index, column in enumerate(columns)
            if (change := change_of(column.type, zone)) is not None
        ]
        self._encode = msgspec.json.Encoder(enc_hook=_other).encode

    def encode(self, row: Sequence[Any]) -> bytes:
        """One row, whose values are in the order of the columns. Raises Unwritable."""
        try:
            values = list(row)
            for index, change in self._changes:
                if values[index] is not None:
                    values[index] = change(values[index])
            return self._encode(dict(zip(self._names, values, strict=True)))
        except Exception:  # whatever values a driver gives: it is this row's trouble alone
            raise self._culprit(row) from None

    def _culprit(self, row: Sequence[Any]) -> Unwritable:
        changes = dict(self._changes)
        for index, (name, value) in enumerate(zip(self._names, row, strict=True)):
            try:
                self._encode(changes[index](value) if index in changes and value is not None else value)
            except Exception as error:
                not_text = isinstance(error, UnicodeError)
                return Unwritable(name, Refusal.NOT_UTF8 if not_text else Refusal.NOT_JSON)
        return Unwritable("", Refusal.NOT_JSON)


def _change_of(kind: TypeEngine[Any], zone: tzinfo) -> Callable[[Any], Any] | None:
    """What a column's values need before they can be JSON without loss; None where they need nothing."""
    if isinstance(kind, types.DateTime):
        time_zone = UTC if is_instant(kind) else zone
        return lambda value: value.replace(tzinfo=time_zone) if _is_naive(value) else value
    if isinstance(kind, types.Numeric | types.Float | types.NullType | types.ARRAY | types.JSON):
        return exact
    return None


def is_instant(kind: TypeEngine[Any]) -> bool:
    """Whether a column holds instants, whatever zone its user has in mind.

    MySQL's TIMESTAMP does, though it shows them without a zone, in that of the session: which `sql_table` sets to UTC.
    """
    return isinstance(kind, mysql.TIMESTAMP) or (isinstance(kind, types.DateTime) and kind.timezone)


def _is_naive(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


def exact(value: Any) -> Any:
    """Decimals as plain digits in a text, as contracts want them; NaN and the infinities, which JSON lacks, by name."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _by_name(value)
    if isinstance(value, Decimal):  # by its own word: a float has no 10^400
        return format(value, "f") if value.is_finite() else _by_name(value)
    if isinstance(value, list):
        return [exact(item) for item in value]
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    return value


def _by_name(value: float | Decimal) -> str:
    nan = value.is_nan() if isinstance(value, Decimal) else value != value
    return "NaN" if nan else "Infinity" if value > 0 else "-Infinity"


def _other(value: Any) -> Any:
    """Types of drivers that JSON and msgspec know nothing of (networks, ranges, intervals) as their text."""
    return str(value)


def may_be_null(column: Column[Any]) -> bool:
    """SQLite takes nulls in a primary key, unless that is the number of the row."""
    return bool(column.nullable) and not (column.primary_key and isinstance(column.type, types.Integer))


def zone_of(name: str) -> tzinfo:
    """The time zone called `name`. Raises ConfigError when there is none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'There is no time zone "{name}": use a name such as Europe/Berlin.') from None


def has_order(kind: TypeEngine[Any]) -> bool:
    """Whether values of a column come back exactly and in one order, so that a page can start after one.

    MySQL sorts an ENUM by its place in the list, but compares it with a text as text: rows would be passed over.
    """
    return python_type(kind) in ORDERED and not isinstance(kind, mysql.ENUM | mysql.SET)

"""Rows of a database as JSON, and the values of keys and cursors as a position keeps them."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import Column, types
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from clearwell.errors import ConfigError

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
    found = next((name for of, name in _TYPES if isinstance(kind, of)), None)
    return found or ("bytes" if _python_type(kind) is bytes else "string")


def lossless(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type by which a column is read, where SQLAlchemy's own for MySQL loses something.

    Its DOUBLE comes as a decimal of ten digits after the point; its TIME, which MySQL has from -838 to 838 hours, as a
    time of day: an untyped column has what the driver gives.
    """
    if isinstance(kind, mysql.DOUBLE | mysql.FLOAT | mysql.REAL):
        return types.Double()
    return types.NullType() if isinstance(kind, mysql.TIME) else kind


class Rows:
    """Encodes rows of the same columns as JSON objects."""

    def __init__(self, columns: Sequence[Column[Any]], zone: tzinfo) -> None:
        """`zone` is what times without one are in."""
        self._names = [column.name for column in columns]
        self._changes: list[tuple[int, Callable[[Any], Any]]] = [
            (index, change)
            for index, column in enumerate(columns)
            if (change := _change_of(column.type, zone)) is not None
        ]
        self._encode = msgspec.json.Encoder(enc_hook=_other).encode

    def encode(self, row: Sequence[Any]) -> bytes:
        """One row, whose values are in the order of the columns."""
        values = list(row)
        for index, change in self._changes:
            if values[index] is not None:
                values[index] = change(values[index])
        return self._encode(dict(zip(self._names, values, strict=True)))


def _change_of(kind: TypeEngine[Any], zone: tzinfo) -> Callable[[Any], Any] | None:
    """What a column's values need before they can be JSON without loss; None where they need nothing."""
    if isinstance(kind, types.DateTime):
        where = UTC if is_instant(kind) else zone
        return lambda value: value.replace(tzinfo=where) if _is_naive(value) else value
    if isinstance(kind, types.Numeric | types.Float | types.NullType | types.ARRAY | types.JSON):
        return _exact
    return None


def is_instant(kind: TypeEngine[Any]) -> bool:
    """Whether a column holds instants, whatever zone its user has in mind.

    MySQL's TIMESTAMP does, though it shows them without a zone, in that of the session: which `sql_table` sets to UTC.
    """
    return isinstance(kind, mysql.TIMESTAMP) or (isinstance(kind, types.DateTime) and kind.timezone)


def _is_naive(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


def _exact(value: Any) -> Any:
    """Decimals as plain digits in a text, as contracts want them; NaN and the infinities, which JSON lacks, by name."""
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list):
        return [_exact(one) for one in value]
    if isinstance(value, dict):
        return {name: _exact(one) for name, one in value.items()}
    return value


def _other(value: Any) -> Any:
    """Types of drivers that JSON and msgspec know nothing of (networks, ranges, intervals) as their text."""
    return str(value)


def zone_of(name: str) -> tzinfo:
    """The time zone called `name`. Raises ConfigError when there is none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'There is no time zone "{name}": use a name such as Europe/Berlin.') from None


def to_position(values: Sequence[Any]) -> list[int | str]:
    """The values of keys and cursors as JSON: integers, and everything else as text that `from_position` reads back."""
    return [_to_text(value) for value in values]


def _to_text(value: Any) -> int | str:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


_FROM_TEXT: dict[type, Callable[[Any], Any]] = {
    int: int,
    str: str,
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    UUID: UUID,
    bytes: base64.b64decode,
}


def from_position(columns: Sequence[Column[Any]], values: Sequence[int | str]) -> list[Any]:
    """The Python values of the columns again. Raises ConfigError when they are not of their types."""
    if len(columns) != len(values):
        names = ", ".join(column.name for column in columns)
        raise ConfigError(f"The position holds {len(values)} values, but rows are read in the order of {names}.")
    try:
        return [_FROM_TEXT[column.type.python_type](value) for column, value in zip(columns, values, strict=True)]
    except (ValueError, ArithmeticError):
        raise ConfigError("The position does not fit the types of the cursor and key columns: reset it.") from None


def has_order(kind: TypeEngine[Any]) -> bool:
    """Whether values of a column come back exactly and in one order, so that a page can start after one.

    MySQL sorts an ENUM by its place in the list, but compares it with a text as text: rows would be passed over.
    """
    return _python_type(kind) in _FROM_TEXT and not isinstance(kind, mysql.ENUM | mysql.SET)


def _python_type(kind: TypeEngine[Any]) -> type | None:
    try:
        return kind.python_type
    except NotImplementedError:
        return None

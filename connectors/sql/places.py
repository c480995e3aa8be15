"""Places in the order of reading: values of cursor and key, as a position keeps them and as a query compares them."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from clearwell.errors import ConfigError

Stored: TypeAlias = int | str | dict[str, str] | None
Place: TypeAlias = list[Stored]

_ODD_TIME = re.compile(r"-?infinity|\d{4,}-\d\d-\d\d.*")
"""Times that Python has not: PostgreSQL's infinities, years after 9999 and before Christ; MySQL's days and months 0."""


def to_place(values: Sequence[Any], stored: bool) -> Place:
    """Values of keys and cursors as JSON that `from_place` reads back. `stored`: as SQLite stores them."""
    return [_stored(value) if stored else _typed(value) for value in values]


def _typed(value: Any) -> Stored:
    if value is None or isinstance(value, bool | int):
        return value if value is None else int(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _stored(value: Any) -> Stored:
    """Integer and text as they are; the other classes of storage by name, since each is compared in its own way."""
    if isinstance(value, float):
        return {"real": value.hex()}
    return {"blob": b64encode(value).decode()} if isinstance(value, bytes) else value


def _time(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(written: str) -> Any:
        try:
            return parse(written)
        except ValueError:
            if _ODD_TIME.fullmatch(written):
                return written  # the database knows it
            raise

    return read


ORDERED: dict[type, Callable[[Any], Any]] = {
    int: int,
    str: str,
    Decimal: Decimal,
    datetime: _time(datetime.fromisoformat),
    date: _time(date.fromisoformat),
    UUID: UUID,
    bytes: b64decode,
}


def from_place(columns: Sequence[Column[Any]], row_place: Place, stored: bool) -> list[Any]:
    """The values of the columns again. Raises ConfigError when they are not of their types."""
    if len(columns) != len(row_place):
        names = ", ".join(column.name for column in columns)
        raise ConfigError(f"The position holds {len(row_place)} values, but rows are read in the order of {names}.")
    try:
        if stored:
            return [_from_stored(value) for value in row_place]
        return [
            ORDERED[python_type(column.type) or str](value) for column, value in zip(columns, row_place, strict=True)
        ]
    except (ValueError, ArithmeticError, TypeError, KeyError):
        raise ConfigError("The position does not fit the types of the cursor and key columns: reset it.") from None


def _from_stored(value: Stored) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    return float.fromhex(text) if kind == "real" else b64decode(text, validate=True)


def id_of(place: Place) -> str:
    """A single value as it is; several as JSON, so that no two places give one id."""
    return str(place[0]) if len(place) == 1 else msgspec.json.encode(place).decode()


def python_type(kind: TypeEngine[Any]) -> type | None:
    """The Python type of a column's values; None where SQLAlchemy does not know it."""
    try:
        return kind.python_type
    except NotImplementedError:
        return None

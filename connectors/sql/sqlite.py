"""What SQLite stores, which is any value in any column: read and compared as it is, written by the declared type."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import types
from sqlalchemy.types import TypeEngine, UserDefinedType


class NotText(bytes):
    """A text that is no UTF-8."""


def limit(connection: Any, seconds: float) -> None:
    """Have what this connection of sqlite3 does end after `seconds`."""
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)


class Stored(UserDefinedType[Any]):
    """The type of a value that is compared as it is, whatever type its column has."""

    cache_ok = True


def text(data: bytes) -> str | NotText:
    """Python's `text_factory`: one text that is no UTF-8 must not end the table."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return NotText(data)


def change_of(kind: TypeEngine[Any], zone: tzinfo) -> Callable[[Any], Any]:
    """What makes a stored value one of the column's type, where it is one; another is written as it is stored."""
    change = _CHANGES.get(next((of for of in _CHANGES if isinstance(kind, of)), type(None)), _same)

    def changed(value: Any) -> Any:
        if isinstance(value, NotText):
            value.decode()
        return change(value, zone)

    return changed


def _same(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _time(value: Any, zone: tzinfo) -> Any:
    """Text in ISO 8601 with its zone; numbers (epochs, Julian days) stay what they are: only the user knows which."""
    if not isinstance(value, str) or len(value) < len("2024-01-01 00:00"):
        return _same(value, zone)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def _bool(value: Any, zone: tzinfo) -> Any:
    return bool(value) if value in (0, 1) and isinstance(value, int) else _same(value, zone)


def _decimal(value: Any, zone: tzinfo) -> Any:
    """As text, which is what a contract's decimal takes; of a float the shortest digits that are the same float."""
    value = _same(value, zone)
    return format(Decimal(repr(value)), "f") if isinstance(value, float | int) else value


def _json(value: Any, zone: tzinfo) -> Any:
    if not isinstance(value, str):
        return _same(value, zone)
    try:
        msgspec.json.decode(value, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return value
    return msgspec.Raw(value.encode())


_CHANGES: dict[type, Callable[[Any, tzinfo], Any]] = {
    types.DateTime: _time,
    types.Boolean: _bool,
    types.Float: _same,
    types.Numeric: _decimal,
    types.JSON: _json,
}

"""Every exact conversion from one type to another. Each function raises ValueError or OverflowError when it can't."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from clearwell.contract.model import Type
from clearwell.contract.values import INT_BOUNDS, python_value
from clearwell.steps.numeric import LARGEST, fits

Convert = Callable[[Any, int, int], Any]
"""(value, precision, scale of the new field) → the new value."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})\Z")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")


def _bounded(type_: Type, value: int) -> int:
    low, high = INT_BOUNDS[type_]
    if not low <= value <= high:
        raise ValueError("out of range")
    return value


def _whole(type_: Type) -> Convert:
    def convert(value: Any, _precision: int, _scale: int) -> int:
        whole = int(value)
        if whole != value:
            raise ValueError("not a whole number")
        return _bounded(type_, whole)

    return convert


def _text_to_int(type_: Type) -> Convert:
    def convert(text: str, _precision: int, _scale: int) -> int:
        if not _INTEGER.match(text):
            raise ValueError("not a whole number")
        return _bounded(type_, int(text))

    return convert


def _text_to_float(text: str, _precision: int, _scale: int) -> float:
    if len(text) > 400 or not _NUMBER.match(text):
        raise ValueError("not a number")
    value = float(text)
    if not -LARGEST <= value <= LARGEST:
        raise ValueError("out of range")
    return value


def _int_to_float(value: int, _precision: int, _scale: int) -> float:
    if float(value) != value:
        raise ValueError("a float64 can't hold this number")
    return float(value)


def _decimal_to_float(value: Decimal, _precision: int, _scale: int) -> float:
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError("a float64 can't hold this number")
    return number


def _to_decimal(written: str, precision: int, scale: int) -> Decimal:
    value: Decimal = python_value(Type.DECIMAL, written)
    if not fits(value, precision, scale):
        raise ValueError("too many digits")
    return value


def _text_to_bool(text: str, _precision: int, _scale: int) -> bool:
    if text not in ("true", "false"):
        raise ValueError("not true or false")
    return text == "true"


def _text_to(type_: Type) -> Convert:
    return lambda text, _precision, _scale: python_value(type_, text)


def _timestamp_to_text(value: datetime, _precision: int, _scale: int) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _date_to_timestamp(value: date, _precision: int, _scale: int) -> datetime:
    return datetime.combine(value, time(), UTC)


CASTS: dict[tuple[Type, Type], Convert] = {
    (Type.STRING, Type.INT32): _text_to_int(Type.INT32),
    (Type.STRING, Type.INT64): _text_to_int(Type.INT64),
    (Type.STRING, Type.FLOAT64): _text_to_float,
    (Type.STRING, Type.DECIMAL): _to_decimal,
    (Type.STRING, Type.BOOL): _text_to_bool,
    (Type.STRING, Type.TIMESTAMP): _text_to(Type.TIMESTAMP),
    (Type.STRING, Type.DATE): _text_to(Type.DATE),
    (Type.INT32, Type.INT64): _whole(Type.INT64),
    (Type.INT32, Type.STRING): lambda value, _p, _s: str(value),
    (Type.INT32, Type.FLOAT64): _int_to_float,
    (Type.INT32, Type.DECIMAL): lambda value, p, s: _to_decimal(str(value), p, s),
    (Type.INT64, Type.INT32): _whole(Type.INT32),
    (Type.INT64, Type.STRING): lambda value, _p, _s: str(value),
    (Type.INT64, Type.FLOAT64): _int_to_float,
    (Type.INT64, Type.DECIMAL): lambda value, p, s: _to_decimal(str(value), p, s),
    (Type.FLOAT64, Type.INT32): _whole(Type.INT32),
    (Type.FLOAT64, Type.INT64): _whole(Type.INT64),
    (Type.FLOAT64, Type.DECIMAL): lambda value, p, s: _to_decimal(format(Decimal(repr(value)), "f"), p, s),
    (Type.FLOAT64, Type.STRING): lambda value, _p, _s: repr(value),
    (Type.DECIMAL, Type.INT32): _whole(Type.INT32),
    (Type.DECIMAL, Type.INT64): _whole(Type.INT64),
    (Type.DECIMAL, Type.FLOAT64): _decimal_to_float,
    (Type.DECIMAL, Type.STRING): lambda value, _p, _s: format(value, "f"),
    (Type.BOOL, Type.INT32): lambda value, _p, _s: int(value),
    (Type.BOOL, Type.STRING): lambda value, _p, _s: "true" if value else "false",
    (Type.TIMESTAMP, Type.STRING): _timestamp_to_text,
    (Type.DATE, Type.STRING): lambda value, _p, _s: value.isoformat(),
    (Type.DATE, Type.TIMESTAMP): _date_to_timestamp,
}

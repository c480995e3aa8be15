"""What type the sample values of a field have, in the contract's words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clearwell.contract.model import Type
from clearwell.contract.values import INT_BOUNDS, python_value

_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,37})\.([0-9]{1,38})")


@dataclass(frozen=True, slots=True)
class Guess:
    """A type; `items` of a list, `scale` of a decimal with more digits after the point than a contract's default."""

    type: Type
    items: Type | None = None
    scale: int | None = None


def guess(values: Sequence[Any], declared: str | None = None) -> Guess:
    """The type that all of `values` (decoded JSON, no nulls) have; `declared` is what the source says of the field.

    The source is believed where the values agree, but its "string" may be narrowed. Values of several types are json.
    """
    said = Type(declared) if declared in set(Type) else None
    if not values:
        return Guess(said if said not in (None, Type.LIST) else Type.STRING)
    if said not in (None, Type.STRING, Type.DECIMAL, Type.LIST) and all(_FITS[said](value) for value in values):
        return Guess(said)
    if all(isinstance(value, list) for value in values):
        return _list([item for value in values for item in value])
    return _scalar(values) or Guess(Type.JSON)


def _list(items: Sequence[Any]) -> Guess:
    """A list whose items are of one scalar type and never null; json otherwise."""
    item_type = None if any(item is None for item in items) or not items else _scalar(items)
    return Guess(Type.JSON) if item_type is None or item_type.scale else Guess(Type.LIST, items=item_type.type)


def _scalar(values: Sequence[Any]) -> Guess | None:
    for type_ in (Type.BOOL, Type.INT64, Type.FLOAT64, Type.TIMESTAMP, Type.DATE):
        if all(_FITS[type_](value) for value in values):
            return Guess(type_)
    if not all(isinstance(value, str) for value in values):
        return None
    return _decimal(values) or Guess(Type.STRING)


def _decimal(values: Sequence[str]) -> Guess | None:
    """Text is a decimal only where each value has a fraction: "00123" and "42" are more likely codes."""
    parts = [_FRACTION.fullmatch(value) for value in values]
    if not all(parts):
        return None
    whole = max(len(part[1]) for part in parts if part)
    scale = max(9, *(len(part[2]) for part in parts if part))
    return Guess(Type.DECIMAL, scale=scale if scale > 9 else None) if whole + scale <= 38 else None


def _integer(type_: Type) -> Callable[[Any], bool]:
    low, high = INT_BOUNDS[type_]
    return lambda value: type(value) is int and low <= value <= high


def _written(type_: Type) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            return isinstance(value, str) and python_value(type_, value) is not None
        except (ValueError, OverflowError):
            return False

    return fits


def _number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        return False


_FITS: dict[Type, Callable[[Any], bool]] = {
    Type.BOOL: lambda one: type(one) is bool,
    Type.INT32: _integer(Type.INT32),
    Type.INT64: _integer(Type.INT64),
    Type.FLOAT64: _number,
    Type.TIMESTAMP: _written(Type.TIMESTAMP),
    Type.DATE: _written(Type.DATE),
    Type.BYTES: _written(Type.BYTES),
    Type.JSON: lambda one: True,
}

"""Whether a Python value is one that a field can hold, exactly: constants of a contract, results of functions."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from clearwell.contract.model import Field, Type
from clearwell.contract.values import INT_BOUNDS
from clearwell.steps.numeric import LARGEST, fits

PYTHON: dict[Type, type] = {
    Type.STRING: str,
    Type.INT32: int,
    Type.INT64: int,
    Type.FLOAT64: float,
    Type.DECIMAL: Decimal,
    Type.BOOL: bool,
    Type.TIMESTAMP: datetime,
    Type.DATE: date,
    Type.BYTES: bytes,
}
"""The exact Python type of a scalar field's values inside the pipeline."""


def holds(field: Field, value: Any) -> bool:
    """Whether `value` is exactly of a scalar field's type and fits it; null aside. Declared bounds are not asked."""
    if PYTHON.get(field.type) is not value.__class__:
        return False
    if isinstance(value, str):
        return writable(value)
    if field.type in INT_BOUNDS:
        low, high = INT_BOUNDS[field.type]
        return isinstance(value, int) and low <= value <= high
    if isinstance(value, float):
        return -LARGEST <= value <= LARGEST
    if isinstance(value, Decimal):
        return fits(value, field.precision, field.scale)
    return not isinstance(value, datetime) or value.tzinfo is not None


def writable(text: str) -> bool:
    """Whether every store takes this text: no NUL, no half of a character."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)

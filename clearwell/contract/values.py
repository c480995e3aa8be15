"""Constants written in a contract (bounds, allowed values, comparisons) against the type they are meant for."""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from decimal import Decimal
from typing import Any

from clearwell.contract.model import Type

INT_BOUNDS: dict[Type, tuple[int, int]] = {Type.INT32: (-(2**31), 2**31 - 1), Type.INT64: (-(2**63), 2**63 - 1)}
"""What an integer type holds, inclusive. A field's own bounds lie inside; none given means these."""

ORDERED = frozenset({Type.INT32, Type.INT64, Type.FLOAT64, Type.DECIMAL, Type.TIMESTAMP, Type.DATE})
"""Types that `min` and `max` apply to. Strings are ordered too in a `when` (by code point), but have no bounds."""

NUMBERS = frozenset({Type.INT32, Type.INT64, Type.FLOAT64, Type.DECIMAL})

_DECIMAL = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[-+][0-9]{2}:[0-9]{2})\Z"
)


def kind(value: Any) -> str:
    """What a YAML value is, in words for an error message."""
    names: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    names |= {list: "a list", dict: "a map", type(None): "nothing (null)"}
    return names.get(type(value), "something else")


def canonical(type_: Type, value: Any) -> Any:
    """`value` as the contract keeps it: exact type, timestamps as UTC "YYYY-MM-DDTHH:MM:SS[.ffffff]Z".

    Raises ValueError with the end of a sentence ("must be ...") when it is not of the type; nothing is cast.
    """
    if type_ in INT_BOUNDS:
        return _integer(type_, value)
    if type_ is Type.FLOAT64:
        if type(value) not in (int, float):
            raise ValueError(f"must be a number, not {kind(value)}")
        return _float(value)
    if type_ is Type.BOOL:
        if type(value) is not bool:
            raise ValueError(f"must be true or false, not {kind(value)}")
        return value
    if type_ is Type.STRING:
        if type(value) is not str:
            raise ValueError(f"must be text, not {kind(value)}: write it in quotes")
        return value
    if type_ in (Type.JSON, Type.LIST):
        raise ValueError(f"can't be compared: the field's type is {type_}")
    return _written(type_, value)


def _float(value: int | float) -> float:
    """A finite float64; a whole number must be one exactly, or a bound would lie where nobody wrote it."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("does not fit float64")
    if number != value:
        raise ValueError(f"can't be held by a float64, whose nearest number is {int(number)}")
    return number


def _integer(type_: Type, value: Any) -> int:
    low, high = INT_BOUNDS[type_]
    if type(value) is not int:
        raise ValueError(f"must be a whole number, not {kind(value)}")
    if not low <= value <= high:
        raise ValueError(f"does not fit {type_} ({low} to {high})")
    return value


def _written(type_: Type, value: Any) -> str:
    """Types that JSON writes as strings."""
    if type_ is Type.DECIMAL and type(value) is int:
        value = str(value)
    if type(value) is not str:
        raise ValueError(f"must be a {type_} in quotes, not {kind(value)}")
    known = python_value(type_, value)
    if isinstance(known, datetime.datetime):
        text = known.isoformat().removesuffix("+00:00")
        return (text.rstrip("0") if "." in text else text) + "Z"
    return value


def python_value(type_: Type, written: Any) -> Any:
    """A canonical constant as the Python value that a clean row holds.

    decimal → Decimal; timestamp → aware datetime in UTC; date → date; bytes → bytes; the rest as it is.
    Raises ValueError with the end of a sentence when `written` is malformed.
    """
    if type_ is Type.DECIMAL:
        if not _DECIMAL.match(written):
            raise ValueError('must be a decimal such as "12.50"')
        return Decimal(written)
    if type_ is Type.TIMESTAMP:
        return _timestamp(written)
    if type_ is Type.DATE:
        return _date(written)
    if type_ is Type.BYTES:
        try:
            return base64.b64decode(written, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("must be bytes in base64") from error
    return written


def _timestamp(text: str) -> datetime.datetime:
    problem = 'must be an RFC 3339 timestamp with an offset, such as "2013-01-01T10:00:00Z"'
    if not _TIMESTAMP.match(text):
        raise ValueError(problem)
    try:
        return datetime.datetime.fromisoformat(text.upper()).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(problem) from error


def _date(text: str) -> datetime.date:
    problem = 'must be a date such as "2013-01-31"'
    if not _DATE.match(text):
        raise ValueError(problem)
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(problem) from error


def width_misfit(type_: Type, width: float, scale: int) -> str | None:
    """Why a bucket of `width` can't generalise values of `type_`, as a sentence without its full stop; None if it can.

    Units: the field's own for numbers, days for a date, seconds for a timestamp. `scale` counts for decimals.
    """
    if type_ not in ORDERED:
        return f"generalise does not apply to {type_}, only to numbers, timestamps and dates"
    if type_ in INT_BOUNDS or type_ is Type.DATE:
        unit = " of days" if type_ is Type.DATE else ""
        if width != int(width) or width > INT_BOUNDS[Type.INT32][1]:
            return f"a bucket of {type_} must be a whole number{unit}, and fit int32"
    if type_ is Type.DECIMAL and _digits_after_point(Decimal(repr(width))) > scale:
        return f"a bucket of this decimal has at most {scale} digits after the point (`scale`)"
    if type_ is Type.TIMESTAMP and not 1e-6 <= width <= 1e11:
        return "a bucket of timestamps has between 0.000001 and 100000000000 seconds"
    return None


def _digits_after_point(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0

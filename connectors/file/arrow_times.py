"""Arrow's times as ISO 8601, with all their digits, from their integers: Python's own types end at microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clearwell.source import Refusal
from connectors.file.json_misfit import Misfit

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""Seconds since 1970 of 0001-01-01T00:00:00 and of 9999-12-31T23:59:59."""

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY = 86_400
_SECONDS_LONG = len("2026-01-01T00:00:00")


def timestamps(array: Any, zone: tzinfo | None, seconds: Any = None) -> list[Any]:
    """Instants with a Z; times without a zone as local ones of `zone`, or as they are when it is None.

    `seconds`: the same times in whole seconds, where they come from INT96 and Arrow's nanoseconds may have wrapped
    around (they reach from 1677 to 2262).
    """
    texts = _texts(array) if seconds is None else _int96(array, _texts(seconds), seconds)
    if array.type.tz is not None or zone is UTC:
        return [f"{text}Z" if isinstance(text, str) else text for text in texts]
    return texts if zone is None else [_instant(text, zone) if isinstance(text, str) else text for text in texts]


def dates(array: Any) -> list[Any]:
    """YYYY-MM-DD."""
    days = array.cast(pa.date32())
    return _written(days, days.cast(pa.int32()), _FIRST_DAY, _LAST_DAY)


def times_of_day(array: Any) -> list[Any]:
    """HH:MM:SS, with a fraction where there is one."""
    units = array.cast(pa.int32() if pa.types.is_time32(array.type) else pa.int64())
    return _written(array, units, 0, _DAY * _PER_SECOND[array.type.unit] - 1)


def durations(array: Any) -> list[Any]:
    """ISO 8601 in days and seconds, such as P1DT2.5S."""
    per = _PER_SECOND[array.type.unit]
    return [None if units is None else _duration(units, per) for units in array.cast(pa.int64()).to_pylist()]


def _texts(array: Any) -> list[Any]:
    units, unit = array.cast(pa.int64()), array.type.unit
    per = _PER_SECOND[unit]
    low, high = (_FIRST * per, (_LAST + 1) * per - 1) if unit != "ns" else (None, None)
    return _written(units.cast(pa.timestamp(unit)), units, low, high)


def _written(array: Any, units: Any, low: int | None, high: int | None) -> list[Any]:
    """An array of times as text; those whose number lies outside of the bounds don't fit."""
    wrong: list[int] = []
    if low is not None and high is not None:
        outside = pc.or_(pc.less(units, low), pc.greater(units, high))
        if pc.any(outside).as_py():
            wrong = pc.indices_nonzero(outside).to_pylist()
            array = pc.if_else(outside, pa.scalar(None, array.type), array)
    texts = pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)
    texts = pc.replace_substring_regex(texts, r"\.0+$", "", max_replacements=1)
    texts = pc.replace_substring_regex(texts, r"(\.[0-9]{6})000$", r"\1", max_replacements=1)
    values: list[Any] = texts.to_pylist()
    for index in wrong:
        values[index] = Misfit(Refusal.TIME_RANGE, units[index].as_py())
    return values


def _int96(wrapped: Any, texts: Iterable[Any], seconds: Any) -> list[Any]:
    """Times in whole seconds, with the nanoseconds that the wrapped number still tells."""
    times = []
    rows = zip(texts, seconds.cast(pa.int64()).to_pylist(), wrapped.cast(pa.int64()).to_pylist(), strict=True)
    for text, second, nanos in rows:
        if not isinstance(text, str):
            times.append(text)
            continue
        rest = (nanos - second * 1_000_000_000) % 2**64
        times.append(text + _fraction(rest) if rest < 1_000_000_000 else Misfit(Refusal.TIME_RANGE, second))
    return times


def _fraction(nanos: int) -> str:
    if not nanos:
        return ""
    return f".{nanos:09}" if nanos % 1_000 else f".{nanos // 1_000:06}"


def _instant(text: str, zone: tzinfo) -> str | Misfit:
    """A local time in UTC; of two equal ones when clocks go back the earlier is meant, as in the step parse_time."""
    local = datetime.fromisoformat(text[:_SECONDS_LONG])
    try:
        moment = local.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) != local:
            return Misfit(Refusal.NO_LOCAL_TIME, text)
    except OverflowError:
        return Misfit(Refusal.TIME_RANGE, text)
    return f"{moment.replace(tzinfo=None).isoformat()}{text[_SECONDS_LONG:]}Z"


def _duration(units: int, per: int) -> str:
    whole, rest = divmod(abs(units), per)
    days, seconds = divmod(whole, _DAY)
    fraction = _fraction(rest * (1_000_000_000 // per)).rstrip("0")
    part = f"T{seconds}{fraction}S" if seconds or rest or not days else ""
    return f"{'-' if units < 0 else ''}P{f'{days}D' if days else ''}{part}"

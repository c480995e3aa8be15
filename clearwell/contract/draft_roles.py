"""Which fields of sample events likely tell events apart, name a row, and say when it happened."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearwell.contract.draft_types import Guess
from clearwell.contract.model import Type

ENOUGH = 20
"""Samples from which on being unique says something without a telling name."""

_IDS = (Type.STRING, Type.INT32, Type.INT64)
_EVENT_ID = re.compile(r"(event|message|msg|record|change|transaction)_?id|uuid|guid", re.IGNORECASE)
_ID = re.compile(r"_?id|key|.*(_id|_key|_uuid|_no|_number)|.*[a-z](Id|ID|Key|Uuid)", re.IGNORECASE)
_TIMES = (
    re.compile(r"(event|occurred|happened)_?(time|at|timestamp|date)?", re.IGNORECASE),
    re.compile(r"timestamp|time|ts|at|date_?time|when", re.IGNORECASE),
    re.compile(
        r"(created|inserted|placed|ordered|recorded|logged|received|started)(_?(at|on|time|date))?", re.IGNORECASE
    ),
    re.compile(r"(updated|modified|changed|last_?modified)(_?(at|on|time|date))?", re.IGNORECASE),
    re.compile(r".*(_(at|time|ts|timestamp)|Time|Timestamp|At)"),
    re.compile(r".*(date|epoch).*", re.IGNORECASE),
)
_UNIX = (("unix_seconds", 1), ("unix_milliseconds", 1_000), ("unix_microseconds", 1_000_000))
_FROM, _TO = 631_152_000, 4_102_444_800  # 1990 to 2100, seconds since 1970
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:")
_LOCAL = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A field of the samples: its values where it has one, and in how many of the events it has none."""

    name: str
    guess: Guess
    values: Sequence[Any]
    nulls: int
    personal: str | None

    @property
    def always(self) -> bool:
        """Whether every sample has it."""
        return self.nulls == 0 and len(self.values) > 0


@dataclass(frozen=True, slots=True)
class EventTime:
    """The field of the event's time; `format` and `zone` for a `parse_time` step where it is no timestamp yet."""

    field: Sampled
    format: str | None = None
    zone: str | None = None


def event_id(fields: Sequence[Sampled], stream: str) -> Sampled | None:
    """The field that likely tells events apart: unique, never null, and called so."""
    return _best(fields, lambda name: _EVENT_ID.fullmatch(name) is not None, stream)


def key(fields: Sequence[Sampled], stream: str) -> Sampled | None:
    """The field that likely names a row: unique, never null; rather `id` or `order_id` of orders than an event's id."""
    return _best(fields, lambda name: name.lower() in _own_ids(stream), stream)


def _best(fields: Sequence[Sampled], first: Callable[[str], bool], stream: str) -> Sampled | None:
    unique = [field for field in fields if _is_unique(field)]
    for liked in (first, lambda name: name.lower() in _own_ids(stream), lambda name: bool(_ID.fullmatch(name))):
        for sampled in unique:
            if liked(sampled.name):
                return sampled
    return next(
        (sampled for sampled in unique if len(sampled.values) >= ENOUGH and all(map(_is_code, sampled.values))), None
    )


def _own_ids(stream: str) -> tuple[str, ...]:
    singular = stream.removesuffix("s")
    return ("id", f"{singular}_id", f"{stream}_id", f"{singular}id")


def _is_unique(sampled: Sampled) -> bool:
    return sampled.always and sampled.guess.type in _IDS and len(set(sampled.values)) == len(sampled.values)


def _is_code(value: Any) -> bool:
    return isinstance(value, int) or re.fullmatch(r"\S{1,64}", value) is not None


def event_time(fields: Sequence[Sampled]) -> EventTime | None:
    """The field that likely says when it happened: never null, not personal, a time as it is or once parsed."""
    candidates = [(time, rank) for field in fields if (time := _as_time(field)) and (rank := _rank(time)) is not None]
    return min(candidates, key=lambda pair: pair[1])[0] if candidates else None


def _rank(time: EventTime) -> tuple[int, int] | None:
    """By name, then a timestamp before a time to parse, those before a date; None for a number called otherwise."""
    called = next((at for at, name in enumerate(_TIMES) if name.fullmatch(time.field.name)), len(_TIMES))
    if called == len(_TIMES) and time.format is not None and time.format.startswith("unix"):
        return None
    return called, 2 if time.format == "%Y-%m-%d" else int(time.format is not None)


def _as_time(sampled: Sampled) -> EventTime | None:
    if not sampled.always or sampled.personal:
        return None
    if sampled.guess.type is Type.TIMESTAMP:
        return EventTime(sampled)
    if sampled.guess.type is Type.DATE:
        return EventTime(sampled, "%Y-%m-%d", "UTC")
    if sampled.guess.type in (Type.INT32, Type.INT64, Type.FLOAT64):
        for unit, per_second in _UNIX:
            if all(_FROM * per_second <= value < _TO * per_second for value in sampled.values):
                return EventTime(sampled, unit)
    if sampled.guess.type is Type.STRING:
        for format_ in _LOCAL:
            if all(_reads(value, format_) for value in sampled.values):
                return EventTime(sampled, format_, "UTC")
        if all(map(_is_iso, sampled.values)):
            return EventTime(sampled, "iso8601", "UTC")
    return None


def _is_iso(value: str) -> bool:
    """Whether it is a date and time of ISO 8601, offset and fraction or not, as the step parse_time reads it."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return _ISO.match(value) is not None


def _reads(value: str, format_: str) -> bool:
    try:
        datetime.strptime(value, format_)
    except ValueError:
        return False
    return True

"""The generated decoder against a slow one in plain Python: the same verdict and the same values on every path."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import math
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clearwell.contract.load import parse
from clearwell.pipeline import RawBatch
from clearwell.pipeline.compiler import Pipeline, compile
from clearwell.privacy.memory_keyring import MemoryKeyring
from tests.support.written_events import JSON, written

TEXT = """
stream: things
version: 1
owner: team@example.com
key: id
event_id: id
event_time: at
unknown_fields: {mode}
fields:
  id: {{type: string, required: true, max_length: 20}}
  at: {{type: timestamp, required: true}}
  n: {{type: int32, min: -5}}
  big: {{type: int64}}
  f: {{type: float64, max: 1000000}}
  d: {{type: decimal, precision: 6, scale: 2}}
  b: {{type: bool}}
  day: {{type: date}}
  raw: {{type: bytes, max_length: 4}}
  j: {{type: json}}
  must: {{type: json, required: true}}
  tags: {{type: list, items: string, max_length: 3}}
  ints: {{type: list, items: int32}}
  word: {{type: string, pattern: "[a-z]+"}}
  pick: {{type: string, allowed: [x, "y"]}}
"""
MODES = ("reject", "drop", "keep")
PIPELINES: dict[str, Pipeline] = {
    mode: compile(parse(TEXT.format(mode=mode), "things/v1.yaml"), MemoryKeyring()) for mode in MODES
}
NAMES = tuple(field.name for field in PIPELINES["drop"].schema.fields)


class Refused(Exception):
    """The reference does not take this event."""


def reference(value: bytes, mode: str) -> dict[str, Any]:
    """The clean event (as its JSON reads) or Refused, by the json module and plain checks."""
    try:
        event = json.loads(value.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if not isinstance(event, dict):
        raise Refused
    clean = {name: CHECKS[name](event.get(name)) for name in NAMES if name in CHECKS}
    extra = {name: plain_json(inner) for name, inner in event.items() if name not in CHECKS}
    if any("\0" in name for name in extra) or (extra and mode == "reject"):
        raise Refused
    folded = [name.casefold() for name in (*extra, *NAMES)]
    if mode == "keep" and len({*folded}) != len(folded):
        raise Refused
    return clean | ({"extra": extra or None} if mode == "keep" else {})


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate")
    for name, _ in pairs:
        unbroken(name)
    return dict(pairs)


def refuse(_: str) -> Any:
    raise ValueError("NaN and infinities are not JSON")


def need(fits: bool) -> None:
    if not fits:
        raise Refused


def unbroken(text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("lone surrogate")


def text(value: Any) -> str:
    need(type(value) is str and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value))
    return str(value)


def integer(low: int, high: int) -> Any:
    def check(value: Any) -> int:
        need(type(value) is int and low <= value <= high)
        return int(value)

    return check


def floating(value: Any) -> float:
    need(type(value) in (int, float))
    try:
        found = float(value)
    except OverflowError as error:
        raise Refused from error
    need(math.isfinite(found) and found <= 1000000)
    return found


def decimal(value: Any) -> str:
    known = re.fullmatch(r"-?([0-9]+)(?:\.([0-9]+))?", text(value), re.ASCII)
    need(known is not None)
    whole, part = known[1].lstrip("0"), known[2] or ""  # type: ignore[index]
    need(len(whole) <= 4 and len(part) <= 2 and len(str(value)) <= 80 and len(known[1]) <= 38)  # type: ignore[index]
    return format(Decimal(value), "f")


def boolean(value: Any) -> bool:
    need(type(value) is bool)
    return bool(value)


def day(value: Any) -> str:
    need(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text(value)) is not None)
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise Refused from error


MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[-+][0-9]{2}:?[0-9]{2})"
)


def moment(value: Any) -> str:
    known = MOMENT.fullmatch(text(value))
    need(known is not None)
    date, clock, part, zone = known.groups()  # type: ignore[union-attr]
    zone = "+00:00" if zone in "Zz" else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    digits = (part or "").ljust(7, "0")
    micros = int(digits[:6]) + (digits[6] >= "5")
    try:
        need(zone[4:] < "60" and zone[1:3] < "24")
        found = datetime.datetime.fromisoformat(f"{date}T{clock}{zone}") + datetime.timedelta(microseconds=micros)
        return found.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError) as error:
        raise Refused from error


def binary(value: Any) -> str:
    need(re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text(value)) is not None and len(value) % 4 == 0)
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused from error
    need(len(found) <= 4)
    return base64.b64encode(found).decode()


def plain_json(value: Any, depth: int = 0) -> Any:
    need(depth <= 64)
    if isinstance(value, dict):
        need(not any("\0" in name for name in value))
        return {name: plain_json(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain_json(inner, depth + 1) for inner in value]
    if isinstance(value, str):
        return text(value)
    if type(value) is int:
        need(-(2**63) <= value < 2**63)
    if isinstance(value, float):
        need(math.isfinite(value))
    return value


def present(check: Any) -> Any:
    def checked(value: Any) -> Any:
        need(value is not None)
        return check(value)

    return checked


def optional(check: Any) -> Any:
    return lambda value: None if value is None else check(value)


def items(check: Any, most: int | None = None) -> Any:
    def checked(value: Any) -> list[Any]:
        need(type(value) is list and (most is None or len(value) <= most))
        return [present(check)(one) for one in value]

    return checked


def limited(value: Any) -> str:
    need(len(text(value)) <= 20)
    return str(value)


def matching(pattern: str) -> Any:
    def checked(value: Any) -> str:
        need(re.fullmatch(pattern, text(value)) is not None)
        return str(value)

    return checked


CHECKS: dict[str, Any] = {
    "id": present(limited),
    "at": present(moment),
    "n": optional(integer(-5, 2**31 - 1)),
    "big": optional(integer(-(2**63), 2**63 - 1)),
    "f": optional(floating),
    "d": optional(decimal),
    "b": optional(boolean),
    "day": optional(day),
    "raw": optional(binary),
    "j": optional(plain_json),
    "must": present(plain_json),
    "tags": optional(items(text, 3)),
    "ints": optional(items(integer(-(2**31), 2**31 - 1))),
    "word": optional(matching("[a-z]+")),
    "pick": optional(matching("x|y")),
}


def outcome(value: bytes, mode: str) -> dict[str, Any] | str:
    out = PIPELINES[mode].process(RawBatch("t", 0, [3], [value]), PIPELINES[mode].new_state())
    assert [*out.offsets, *(one.offset for one in out.rejected), *(offset for offset, _ in out.dropped)] == [3]
    return msgspec.json.decode(out.values[0]) if out.values else out.rejected[0].reason


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=written())
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":1,"n":null,"n":1}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":1,"N":null}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":"a","must":""}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":1,"word":null,"n":1,"n":2}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":{"a":"","a":{}},"j":{}}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":1,"d":1.5,"n":1,"n":2}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":1,"tags":["a"],"tags":[]}')
@example(value=b'{"id":"\\u0000","at":"2013-01-01T10:00:00Z","must":1}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":1,"tags":["\\u0000"]}')
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":' + b"[" * 65 + b"]" * 65 + b"}")
@example(value=b'{"id":"a","at":"2013-01-01T10:00:00Z","must":' + b"[" * 66 + b"]" * 66 + b"}")
def test_verdict_and_values_are_those_of_the_reference(mode: str, value: bytes) -> None:
    try:
        expected: dict[str, Any] | None = reference(value, mode)
    except Refused:
        expected = None
    found = outcome(value, mode)
    if expected is None:
        assert isinstance(found, str), (value, found)
    else:
        assert not isinstance(found, str), (value, found)
        assert same(found, expected), (value, found, expected)


def same(found: Any, expected: Any) -> bool:
    """Equal, and of equal types all the way down."""
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@settings(max_examples=300, deadline=None)
@given(value=st.one_of(st.binary(max_size=60), JSON.map(lambda one: json.dumps(one).encode())))
def test_any_bytes_are_one_outcome(value: bytes) -> None:
    for mode in MODES:
        outcome(value, mode)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.one_of(written(), st.binary(max_size=9), st.none()), max_size=12))
def test_a_batch_is_the_sum_of_its_events(values: list[bytes | None]) -> None:
    pipeline = PIPELINES["keep"]
    offsets = [7 + 3 * index for index in range(len(values))]
    whole = pipeline.process(RawBatch("t", 0, offsets, values), pipeline.new_state())
    alone = [
        pipeline.process(RawBatch("t", 0, [at], [value]), pipeline.new_state())
        for at, value in zip(offsets, values, strict=True)
    ]
    assert whole.offsets == [at for one in alone for at in one.offsets]
    assert whole.values == [value for one in alone for value in one.values]
    assert whole.keys == [key for one in alone for key in one.keys]
    assert whole.rejected == [bad for one in alone for bad in one.rejected]
    assert sorted([*whole.offsets, *(one.offset for one in whole.rejected)]) == offsets

"""Any steps in any order: every event has one outcome, and what is kept is what the clean schema promised."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearwell.contract.load import parse
from clearwell.contract.model import Field, Type
from clearwell.contract.values import INT_BOUNDS, python_value
from clearwell.errors import ContractError
from clearwell.pipeline import RawBatch
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import Pipeline, compile
from clearwell.privacy.memory_keyring import MemoryKeyring

TEXT = """
stream: things
version: 1
owner: team@example.com
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  s: {type: string, max_length: 3, allowed: [a, "B ", ß, "12", "1.5"]}
  t: {type: string, required: true, max_length: 8}
  n: {type: int32, min: -100, max: 100}
  m: {type: int64}
  f: {type: float64, required: true, min: -1000}
  g: {type: float64}
  d: {type: decimal, precision: 10, scale: 3}
  day: {type: date}
  b: {type: bool}
  who: {type: string, privacy: pseudonym}
  age: {type: int32, min: 0, privacy: {generalise: 10}}
"""
FIELDS = ("s", "t", "n", "m", "f", "g", "d", "day", "b", "who", "age", "new", "at")
STEPS = [
    "require: {{fields: [{a}]}}",
    "drop_when: {{when: {{field: {a}, exists: false}}}}",
    "drop_when: {{when: {{field: {a}, gt: 3}}}}",
    "drop_when: {{when: {{any: [{{field: s, in: [a, b]}}, {{not: {{field: t, ne: x}}}}]}}}}",
    "fill: {{field: {a}, constant: 500}}",
    "fill: {{field: {a}, constant: long text}}",
    "fill: {{field: {a}, mean: '3.25'}}",
    "fill: {{field: {a}, previous: 2, by: [{c}]}}",
    "bounds: {{field: {number}, min: -2, max: 7}}",
    "bounds: {{field: {number}, max: 3, action: clip}}",
    "bounds: {{field: {a}, min: '1.5', action: clip}}",
    "bounds: {{field: {number}, min: 0, action: flag, into: {b}}}",
    "bounds: {{field: {a}, min: '2000-01-01', action: clip}}",
    "zscore_outlier: {{field: {number}, mean: 1, std: 2.5, action: clip}}",
    "iqr_outlier: {{field: {number}, q1: -1, q3: 1e3, action: flag}}",
    "trim: {{fields: [{text}]}}",
    "lower: {{fields: [{text}]}}",
    "upper: {{fields: [{text}]}}",
    "normalize: {{fields: [{text}], form: NFKD}}",
    "replace: {{fields: [{text}], pattern: '[a-z]', with: '\\1xyz'}}",
    "cast: {{field: {a}, to: string}}",
    "cast: {{field: {a}, to: int32}}",
    "cast: {{field: {a}, to: int64}}",
    "cast: {{field: {a}, to: float64}}",
    "cast: {{field: {a}, to: decimal}}",
    "cast: {{field: {a}, to: timestamp}}",
    "parse_time: {{field: {number}, format: unix_milliseconds}}",
    "parse_time: {{field: {text}, format: '%Y', zone: Asia/Kolkata}}",
    "parse_time: {{field: {text}, format: iso8601, zone: Asia/Kolkata}}",
    "label: {{field: {text}, codes: {{a: 1, '12': 2147483647}}, unknown: null}}",
    "label: {{field: {text}, codes: {{a: 1}}, unknown: -5, into: {b}}}",
    "one_hot: {{field: {text}, categories: [a, '12'], unknown: zeros}}",
    "zscore: {{field: {number}, mean: -1e308, std: 0.5}}",
    "zscore: {{field: {number}, mean: 3, std: 2, into: {b}}}",
    "min_max: {{field: {number}, min: 0, max: 3, clip: true}}",
    "decimal_scale: {{field: {number}, digits: 2}}",
    "derive: {{field: {b}, sum: [{number}, {other}]}}",
    "derive: {{field: {b}, difference: [{number}, {other}]}}",
    "derive: {{field: {b}, product: [{number}, {other}, {number}]}}",
    "derive: {{field: {b}, ratio: [{number}, {other}]}}",
    "derive: {{field: {b}, ratio: [{number}, {other}], by_zero: reject}}",
    "derive: {{field: {b}, concat: [{a}, {c}], separator: '-'}}",
    "derive: {{field: {b}, concat: [{a}], privacy: mask}}",
    "derive: {{field: {b}, part: day_of_year, of: {time}}}",
    "derive: {{field: {b}, part: hour, of: {time}, zone: America/New_York}}",
    "rename: {{{a}: {b}}}",
    "drop_field: {{fields: [{a}]}}",
    "deduplicate: {{by: {a}, window: 3}}",
]
KINDS = {
    "a": FIELDS,
    "b": ("new", "other", "z"),
    "c": FIELDS,
    "text": ("s", "t", "who"),
    "number": ("n", "m", "f", "g", "d", "age", "new"),
    "other": ("n", "m", "f", "g", "d"),
    "time": ("at", "day"),
}
CALLS = st.builds(
    lambda step, names: step.format_map(names),
    st.sampled_from(STEPS),
    st.fixed_dictionaries({kind: st.sampled_from(names) for kind, names in KINDS.items()}),
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, values, st.none())


FLOATS = st.one_of(st.floats(-1000, 1000), st.sampled_from([0.0, -0.0, 1e308, 5e-324, 3.0]))
EVENTS = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abcd"),
        "at": st.sampled_from(["2013-01-01T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]),
        "s": optional(st.sampled_from(["a", "B ", "ß", "12", "1.5"])),
        "t": st.sampled_from(["", "x", " Ab\t", "2013", "-7", "true", "ŉŉŉŉŉŉŉŉ", "0.1"]),
        "n": optional(st.integers(-100, 100)),
        "m": optional(st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1))),
        "f": FLOATS,
        "g": optional(st.one_of(FLOATS, st.just(-1e308))),
        "d": optional(st.sampled_from(["0", "-1.5", "9999999.999", "0.001", "3.250"])),
        "day": optional(st.dates().map(str)),
        "b": optional(st.booleans()),
        "who": optional(st.sampled_from(["a", "Zoë"])),
        "age": optional(st.integers(0, 2**31 - 1)),
    }
)


def compiled(calls: list[str]) -> Pipeline | None:
    """The pipeline of as many of the calls as fit together, in order."""
    chosen: list[str] = []
    pipeline = None
    for call in calls:
        lines = "".join(f"  - {one}\n" for one in [*chosen, call])
        try:
            pipeline = compile(parse(f"{TEXT}steps:\n{lines}", "things/v1.yaml"), KEYS)
        except ContractError:
            continue
        chosen.append(call)
    return pipeline


KEYS = MemoryKeyring()


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(calls=st.lists(CALLS, min_size=1, max_size=12), events=st.lists(EVENTS, min_size=1, max_size=8))
def test_what_is_kept_is_what_the_schema_promised(calls: list[str], events: list[dict[str, Any]]) -> None:
    pipeline = compiled(calls)
    if pipeline is None:
        return
    values = [msgspec.json.encode(event) for event in events]
    batch = RawBatch("t", 0, range(len(values)), values)
    out = pipeline.process(batch, pipeline.new_state())
    ended = [*out.offsets, *(at for at, _ in out.dropped), *(one.offset for one in out.rejected)]
    assert sorted(ended) == list(range(len(values)))
    assert not [one for one in out.rejected if one.step in ("decode", "validate")]
    assert not [one for one in out.rejected if "could not process" in one.reason and "Overflow" not in one.reason]
    assert out == pipeline.process(batch, pipeline.new_state())
    for row in CleanCodec(pipeline.schema).decode(out.values):
        for field, value in zip(pipeline.schema.fields, row, strict=True):
            promised(field, value)


def promised(field: Field, value: Any) -> None:
    """`value` is one that `field` allows."""
    if value is None:
        assert not field.required, field
        return
    if field.privacy is not None and field.privacy.kind != "generalise":
        assert isinstance(value, str)
        return
    if field.type in INT_BOUNDS:
        low, high = INT_BOUNDS[field.type]
        assert type(value) is int, (field, value)
        assert low <= value <= high, (field, value)
    if field.type is Type.FLOAT64:
        assert type(value) is float, (field, value)
        assert math.isfinite(value), (field, value)
    if field.type is Type.DECIMAL:
        digits, exponent = value.as_tuple()[1:]
        assert -exponent <= field.scale, (field, value)
        assert len(digits) + exponent <= field.precision - field.scale, (field, value)
    if field.minimum is not None and not field.privacy:
        assert value >= python_value(field.type, field.minimum), (field, value)
    if field.maximum is not None and not field.privacy:
        assert value <= python_value(field.type, field.maximum), (field, value)
    if field.max_length is not None:
        assert len(value) <= field.max_length, (field, value)
    if field.allowed is not None:
        assert value in {python_value(field.type, one) for one in field.allowed}, (field, value)
    kinds = {Type.STRING: str, Type.BOOL: bool, Type.TIMESTAMP: datetime.datetime, Type.DATE: datetime.date}
    assert isinstance(value, kinds.get(field.type, (int, float, Decimal))), (field, value)

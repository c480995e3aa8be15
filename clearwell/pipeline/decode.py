"""The first part of the generated loop: raw bytes → one local variable a field, types exact, constraints held.

Duplicate keys. The decoder takes the last value of a key written twice, and nothing in its result shows it. But in an
event without backslashes each string token has exactly two quotes, so the number of quotes in the bytes is known from
the decoded values when, and only when, every key came once and no unknown key came at all: each further token adds
quotes and nothing takes any away. An event whose quotes differ, or that has a backslash, is inspected in full.
"""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from clearwell.contract.fields import EXTRA
from clearwell.contract.model import Contract, Field, Type, UnknownFields
from clearwell.contract.patterns import compile_pattern
from clearwell.contract.values import python_value
from clearwell.pipeline.careful_decode import BadEvent, check_json, inspector
from clearwell.pipeline.undeclared_fields import gatherer
from clearwell.pipeline.wire_types import quoted, raw_struct
from clearwell.source import EVENT_LIMIT
from clearwell.steps.loop_writer import Code
from clearwell.steps.numeric import fits

CACHED_VALUES = 4096
CACHED_LENGTH = 64
"""Bounds on the values that are remembered as matching a pattern: how many, and how many characters each."""


def emit_decode(code: Code, contract: Contract) -> None:
    """Write the lines that decode and validate one event."""
    code.step = "decode"
    decoder = msgspec.json.Decoder(raw_struct(contract.fields, contract.unknown_fields, code.variable))
    for name, value in (("_decode", decoder.decode), ("_UNSET", msgspec.UNSET), ("_UTC", datetime.UTC)):
        code.bind(name, value)
    code.add("_event = _decode(_value)")
    for field in contract.fields:
        code.add(f"{code.variable(field.name)} = _event.{code.variable(field.name)}")
    _emit_presence(code, contract)
    code.step = "validate"
    for field in contract.fields:
        _emit_value(code, field)


def _emit_presence(code: Code, contract: Contract) -> None:
    """Missing becomes null; then the quotes are counted."""
    certain = sum(4 if quoted(field.type) else 2 for field in contract.fields)
    code.add(f"_quotes = {certain}")
    for field in contract.fields:
        variable = code.variable(field.name)
        if not field.required:
            with code.block(f"if {variable} is _UNSET:"):
                code.add(f"{variable} = None", f"_quotes -= {4 if quoted(field.type) else 2}")
            if quoted(field.type):
                with code.block(f"elif {variable} is None:"):
                    code.add("_quotes -= 2")
        if field.type is Type.JSON:
            encode = code.reference("to_json", msgspec.json.encode)
            code.add(f"_quotes += {encode}({variable}).count(34)")
        elif field.type is Type.LIST and field.items is not None and quoted(field.items):
            with code.unless_null(field):
                code.add(f"_quotes += 2 * _len({variable})")
    extra = contract.unknown_fields is UnknownFields.KEEP
    if extra:
        code.add(f"{code.variable(EXTRA)} = None")
    look = code.reference("inspect", inspector(contract.fields))
    with code.block("if _quotes != _value.count(34) or 92 in _value:  # quotes, backslashes"):
        if extra:
            gather = code.reference("gather", gatherer(contract.fields))
            code.add(f"{code.variable(EXTRA)} = {gather}({look}(_value))")
        else:
            code.add(f"{look}(_value)")


def _emit_value(code: Code, field: Field) -> None:
    """What the decoder's types don't say: normal forms, and the rest of the constraints."""
    lines = _conversion(code, field)
    low, high = (_limit(field, bound) for bound in (field.minimum, field.maximum))
    if not (lines or low is not None or high is not None or field.allowed or field.pattern):
        return
    variable = code.variable(field.name)
    with code.unless_null(field):
        code.add(*lines)
        for limit, sign, word in ((low, "<", "below"), (high, ">", "above")):
            if limit is not None:
                with code.block(f"if {variable} {sign} {code.constant(f'{field.name}_limit', limit)}:"):
                    code.reject(f"{field.name} is {word} the declared bound", field.name)
        if field.allowed is not None:
            allowed = frozenset(python_value(field.type, value) for value in field.allowed)
            with code.block(f"if {variable} not in {code.reference(f'{field.name}_allowed', allowed)}:"):
                code.reject(f"{field.name} is not one of the allowed values", field.name)
        if field.pattern is not None:
            _emit_pattern(code, field)


def _limit(field: Field, bound: Any) -> Any:
    """A bound that the decoder does not hold itself, as a Python value."""
    held = field.type in (Type.INT32, Type.INT64, Type.FLOAT64)
    return None if bound is None or held else python_value(field.type, bound)


def _conversion(code: Code, field: Field) -> list[str]:
    variable = code.variable(field.name)
    if field.type is Type.JSON:
        lines = [f"{code.reference('check_json', check_json)}({variable}, {field.name!r})"]
        if field.required:
            missing = code.reference("missing", missing_value)
            lines.insert(0, f"if {variable} is None: {missing}({field.name!r})")
        return lines
    if field.type is Type.TIMESTAMP:
        convert = code.reference("in_utc", in_utc)
        return [f"if {variable}.tzinfo is not _UTC:", f"    {variable} = {convert}({variable}, {field.name!r})"]
    if field.type is Type.DECIMAL:
        convert = code.reference("decimal", exact_decimal)
        return [f"{variable} = {convert}({variable}, {field.name!r}, {field.precision}, {field.scale})"]
    if field.type is Type.LIST and field.items is Type.TIMESTAMP:
        convert = code.reference("in_utc", in_utc)
        return [f"{variable} = [{convert}(_item, {field.name!r}) for _item in {variable}]"]
    if field.type is Type.LIST and field.items is Type.DECIMAL:
        convert = code.reference("decimal", exact_decimal)
        arguments = f"_item, {field.name!r}, {field.precision}, {field.scale}"
        return [f"{variable} = [{convert}({arguments}) for _item in {variable}]"]
    return []


def _emit_pattern(code: Code, field: Field) -> None:
    """A regular expression costs 0.7 µs: values that matched before are remembered, in a bounded set."""
    variable = code.variable(field.name)
    pattern = compile_pattern(str(field.pattern))
    match = code.reference(f"{field.name}_match", pattern.fullmatch)
    known = code.reference(f"{field.name}_known", set())
    with code.block(f"if {variable} not in {known}:"):
        if pattern.longest < min(EVENT_LIMIT, field.max_length or EVENT_LIMIT):
            with code.block(f"if _len({variable}) > {pattern.longest}:"):
                code.reject(f"{field.name} is too long to be compared with the declared pattern", field.name)
        with code.block(f"if not {match}({variable}):"):
            code.reject(f"{field.name} does not match the declared pattern", field.name)
        with code.block(f"if _len({known}) < {CACHED_VALUES} and _len({variable}) <= {CACHED_LENGTH}:"):
            code.add(f"{known}.add({variable})")


def in_utc(moment: datetime.datetime, field: str) -> datetime.datetime:
    """The same moment in UTC. Raises BadEvent outside of the years 0001 to 9999."""
    try:
        return moment.astimezone(datetime.UTC)
    except OverflowError:
        raise BadEvent(f"{field} is outside of the years 0001 to 9999", "validate", field) from None


def exact_decimal(text: str, field: str, precision: int, scale: int) -> Any:
    """The decimal that `text` writes, digit by digit. Raises BadEvent."""
    try:
        value = python_value(Type.DECIMAL, text)
    except ValueError:
        raise BadEvent(f'{field} must be a decimal as text, such as "12.50"', "validate", field) from None
    if not fits(value, precision, scale):
        raise BadEvent(f"{field} has more than {precision} digits, or {scale} after the point", "validate", field)
    return value


def missing_value(field: str) -> None:
    """Raise BadEvent: a required json field holds null."""
    raise BadEvent(f"{field} is required, but is null", "validate", field)

"""An exception around one event → its `Rejected`: fixed words, declared names, never data (invariant 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import msgspec

from clearwell.contract.model import Contract, Field, Type
from clearwell.pipeline.batch import Rejected
from clearwell.pipeline.careful_decode import BadEvent, inspector

Inspect = Callable[[bytes], dict[str, Any]]
Translate = Callable[[str], tuple[str, str]]
Explain = Callable[[int, bytes | None, Exception], Rejected]

SENTENCES = 1_000
"""How many of the decoder's messages are remembered with their translations; a broken source repeats the same few."""

LONGEST_SENTENCE = 1_000
"""Characters; only an undeclared field's name makes a message as long."""

UNDECLARED = "the event has a field that the contract does not declare"

_GOT = re.compile(r"got `(str|int|float|bool|null|object|array)`")
_WORDS = {"str": "text", "int": "a whole number", "float": "a number with a fraction", "bool": "true or false"}
_WORDS |= {"null": "null", "object": "an object", "array": "a list"}


def explainer(contract: Contract, steps_by_line: Sequence[str]) -> Explain:
    """A function (offset, value, exception) → Rejected for the generated code of `contract`.

    `steps_by_line[n]` is the step that wrote line n + 1 of the code, for exceptions that no step foresaw.
    """
    fields = {field.name: field for field in contract.fields}
    inspect = inspector(contract.fields)
    translate = lru_cache(SENTENCES)(partial(_translated, fields))

    def explain(offset: int, value: bytes | None, error: Exception) -> Rejected:
        if value is None:
            return Rejected(offset, "the event has no value (a tombstone)", "decode")
        if isinstance(error, BadEvent):
            return Rejected(offset, error.reason, error.step, error.field)
        step = _step_of(error, steps_by_line)
        if step in ("decode", ""):
            return _undecoded(offset, value, error, inspect, translate)
        return Rejected(offset, f"the step could not process this event ({type(error).__name__})", step)

    return explain


def _step_of(error: Exception, steps_by_line: Sequence[str]) -> str:
    """The step whose line raised; the first frame of the traceback is the generated code."""
    trace = error.__traceback__
    line = trace.tb_lineno - 1 if trace is not None else -1
    return steps_by_line[line] if 0 <= line < len(steps_by_line) else ""


def _undecoded(offset: int, value: bytes, error: Exception, inspect: Inspect, translate: Translate) -> Rejected:
    """What is wrong with bytes that the decoder refused: first the JSON itself, then the types."""
    try:
        inspect(value)
    except BadEvent as bad:
        return Rejected(offset, bad.reason, bad.step, bad.field)
    except RecursionError:
        return Rejected(offset, "the event is nested too deep", "decode")
    if isinstance(error, msgspec.ValidationError):
        said = str(error)
        # A message can quote a field's name, which a sender chooses: such are neither remembered nor read further.
        reason, field = translate(said) if len(said) <= LONGEST_SENTENCE else (UNDECLARED, "")
        return Rejected(offset, reason, "validate", field)
    return Rejected(offset, "the event is not JSON", "decode")


def _translated(fields: Mapping[str, Field], said: str) -> tuple[str, str]:
    """The decoder's message in plain words, and the declared field it is about ("" when none)."""
    if said.startswith("Object contains unknown field"):
        return UNDECLARED, ""
    missing = re.match(r"Object missing required field `(\w+)`\Z", said)
    if missing and missing[1] in fields:
        return f"{missing[1]} is required, but missing", missing[1]
    path = re.search(r" - at `\$\.(\w+)[^`]*`\Z", said)
    if path is None or path[1] not in fields:
        return "the event does not fit the contract", ""
    field = fields[path[1]]
    got = _GOT.search(said)
    if got and got[1] == "null" and field.required and f"`$.{field.name}`" in said:
        return f"{field.name} is required, but is null", field.name
    return f"{field.name} must be {_wanted(field)}{f', not {_WORDS[got[1]]}' if got else ''}", field.name


def _wanted(field: Field) -> str:
    """A field's type and the constraints that the decoder holds, for a sentence."""
    if field.type is Type.LIST:
        most = f", at most {field.max_length}" if field.max_length is not None else ""
        return f"a list of {field.items}{most}"
    if field.type is Type.TIMESTAMP:
        return "an RFC 3339 timestamp with an offset"
    if field.type is Type.DECIMAL:
        return 'a decimal as text, such as "12.50"'
    if field.type is Type.DATE:
        return "a date as YYYY-MM-DD"
    if field.type is Type.BYTES:
        most = f" of at most {field.max_length} bytes" if field.max_length is not None else ""
        return f"base64 text{most}"
    if field.type is Type.STRING:
        return f"a string{f' of at most {field.max_length} characters' if field.max_length is not None else ''}"
    low = f" from {field.minimum}" if field.minimum is not None else ""
    high = f" up to {field.maximum}" if field.maximum is not None else ""
    return f"{field.type}{low}{high}"

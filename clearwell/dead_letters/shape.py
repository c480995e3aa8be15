"""What an event looks like, without what it says: nothing personal, unless that was asked for (invariant 9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from clearwell.contract.model import Field

MISSING = "missing"


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One declared field of an event: what kind of value it has, and how it is protected ("" where it is not)."""

    field: str
    found: str
    protection: str


@dataclass(frozen=True, slots=True)
class EventShape:
    """An event by its declared fields. `form` is what the whole is; `undeclared` counts its other fields."""

    form: str
    size: int
    parts: tuple[FieldShape, ...]
    undeclared: int


def shape_of(event: bytes, fields: Iterable[Field]) -> EventShape:
    """The shape of an event of which `fields` are declared. Names of other fields may be data: they are counted."""
    declared = tuple(fields)
    try:
        value = msgspec.json.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return EventShape("no JSON", len(event), (), 0)
    if not isinstance(value, dict):
        return EventShape(_kind(value), len(event), (), 0)
    parts = tuple(
        FieldShape(field.name, _kind(value[field.name]) if field.name in value else MISSING, _protection(field))
        for field in declared
    )
    return EventShape("an object", len(event), parts, len(value.keys() - {field.name for field in declared}))


def _protection(field: Field) -> str:
    return field.privacy.kind.value if field.privacy is not None else ""


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction"
        case str():
            return f"a text of {len(value)} characters"
        case list():
            return f"a list of {len(value)}"
        case _:
            return f"an object of {len(value)} fields"

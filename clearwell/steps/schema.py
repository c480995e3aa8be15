"""JSON Schema of each step's arguments: for the schema of the contract language, and so for editors."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from clearwell.steps.shape import Rename
from clearwell.steps.table import STEPS


def json_schemas() -> dict[str, dict[str, Any]]:
    """The schema (draft 2020-12) of the arguments of each step, by the step's name.

    Conditions refer to `#/$defs/condition`, which the schema of the contract's language defines.
    """
    return {step.verb: _whole(step) for step in STEPS}


def _whole(step: type[msgspec.Struct]) -> dict[str, Any]:
    _, named = msgspec.json.schema_components([step], ref_template="{name}")
    schema: dict[str, Any] = _inlined(named[step.__name__], named)
    schema |= {"description": inspect.cleandoc(step.__doc__ or "")}
    schema.pop("title", None)
    if step is Rename:  # the map of names is the whole argument
        names: dict[str, Any] = schema["properties"]["names"]
        return names
    return schema


def _inlined(schema: Any, named: dict[str, Any]) -> Any:
    """`schema` with what it refers to put in its place; references into the contract's own schema stay."""
    if isinstance(schema, list):
        return [_inlined(inner, named) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {
        name: _inlined(inner, named)
        for name, inner in schema.items()
        if schema.get("$ref") not in named or name != "$ref"
    }
    target = named.get(schema.get("$ref", ""))
    return {**_inlined(target, named), **rest} if target is not None else rest

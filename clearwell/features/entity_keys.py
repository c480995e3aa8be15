"""Entities as people write them on a command line."""

from __future__ import annotations

import csv
from typing import Any

from clearwell.contract.features import FeatureView
from clearwell.contract.model import Field, Type
from clearwell.contract.values import canonical, python_value
from clearwell.destinations.features.tiles import Entity
from clearwell.errors import ConfigError


def parse_entity(view: FeatureView, text: str) -> Entity:
    """The entity that `text` names: its key, or its keys in order with commas between ("JFK,LAX", quoted as in CSV).

    Raises ConfigError, without the text (invariant 9), when it does not fit.
    """
    keys = view.entity.keys
    parts = [text] if len(keys) == 1 else next(csv.reader([text], strict=False), [])
    if len(parts) != len(keys):
        named = ",".join(key.name for key in keys)
        raise ConfigError(
            f'An entity of the view "{view.name}" is written as {named}: {len(keys)} values, not {len(parts)}.'
        )
    return tuple(_value(view, key, part) for key, part in zip(keys, parts, strict=True))


def _value(view: FeatureView, key: Field, text: str) -> Any:
    type_ = key.clean_type
    try:
        return python_value(type_, canonical(type_, _read(type_, text)))
    except ValueError as error:
        raise ConfigError(f'The key "{key.name}" of the view "{view.name}" {_end(type_, error)}.') from None


def _read(type_: Type, text: str) -> Any:
    """What YAML would make of the text, knowing the type."""
    if type_ in (Type.INT32, Type.INT64):
        return int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) < 21 else text
    if type_ is Type.FLOAT64:
        return float(text)
    if type_ is Type.BOOL:
        return {"true": True, "false": False}.get(text, text)
    return text


def _end(type_: Type, error: ValueError) -> str:
    """The end of the sentence; Python's own words quote the text."""
    said = str(error)
    return said if said.startswith(("must be", "does not fit")) else f"must be a {type_}"

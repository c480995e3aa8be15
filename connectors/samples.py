"""What sampled events tell of a stream: JSON objects, and the contract types of their fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from clearwell.source import SourceEvent

_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string", list: "json", dict: "json"}


def json_objects(events: Iterable[SourceEvent]) -> tuple[dict[str, Any], ...]:
    """The events that are JSON objects, decoded; the others tell nothing."""
    decoded = (_decoded(event) for event in events)
    return tuple(row for row in decoded if row is not None)


def field_types(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Contract types by field, of the first value that is not null; string where there is none.

    A field of whole numbers with a later fraction is a float64.
    """
    types: dict[str, str] = {}
    names: dict[str, None] = {}
    for row in rows:
        for name, value in row.items():
            names[name] = None
            kind = _KINDS[type(value)] if value is not None else None
            if kind is not None and (name not in types or (types[name], kind) == ("int64", "float64")):
                types[name] = kind
    return {name: types.get(name, "string") for name in names}


def _decoded(event: SourceEvent) -> dict[str, Any] | None:
    if event.refused is not None:
        return None
    try:
        row = msgspec.json.decode(event.data)
    except Exception:  # hostile data raises outside msgspec's own errors too (RecursionError, UnicodeDecodeError)
        return None
    return row if isinstance(row, dict) else None

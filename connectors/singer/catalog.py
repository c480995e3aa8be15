"""A tap's catalog: its streams, their types, and which of them is selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stream_names(catalog: Mapping[str, Any]) -> list[str]:
    """The names by which the tap's messages call its streams."""
    return [_name(stream) for stream in catalog.get("streams", [])]


def selected(catalog: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """The catalog with `stream` alone selected, in both ways that taps understand."""
    return {"streams": [_chosen(entry, _name(entry) == stream) for entry in catalog.get("streams", [])]}


def contract_types(catalog: Mapping[str, Any], stream: str) -> dict[str, str]:
    """Contract types by field, as the stream's JSON Schema says."""
    schema = next(entry.get("schema", {}) for entry in catalog["streams"] if _name(entry) == stream)
    return {name: _type(kind) for name, kind in (schema.get("properties") or {}).items()}


def _name(stream: Mapping[str, Any]) -> str:
    return str(stream.get("tap_stream_id") or stream.get("stream"))


def _chosen(stream: Mapping[str, Any], selected: bool) -> dict[str, Any]:
    made = dict(stream)
    made["selected"] = selected
    made["schema"] = {**stream.get("schema", {}), "selected": selected}
    entries = [dict(entry) for entry in stream.get("metadata", [])]
    top = next((entry for entry in entries if not entry.get("breadcrumb")), None)
    if top is None:
        top = {"breadcrumb": []}
        entries.append(top)
    top["metadata"] = {**top.get("metadata", {}), "selected": selected}
    made["metadata"] = entries
    return made


def _type(kind: Any) -> str:
    if not isinstance(kind, Mapping):
        return "json"
    named = kind.get("type", [])
    types = {named} if isinstance(named, str) else set(named)
    types.discard("null")
    if types == {"string"}:
        return {"date-time": "timestamp", "date": "date"}.get(str(kind.get("format")), "string")
    if types == {"integer"}:
        return "int64"
    if types <= {"integer", "number"} and types:
        return "float64"
    return "bool" if types == {"boolean"} else "json"

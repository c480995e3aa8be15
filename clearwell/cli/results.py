"""Results of the control plane as commands show them: their JSON form, and a line a fact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

LONGEST_POSITION = 300
"""Signs of a position that are shown among other facts."""


def format_time(at: datetime | None) -> str | None:
    """A point in time to the second."""
    return None if at is None else at.isoformat(timespec="seconds")


def format_lag(events: int | None, seconds: float | None) -> str:
    """What is still to be read, and how old it is: "1,200, 8 s"; "?" where that is not known."""
    if events is None:
        return "?"
    return f"{events:,}" if not events or seconds is None else f"{events:,}, {format_seconds(seconds)}"


def format_seconds(seconds: float) -> str:
    """How long: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_position(position: Any) -> str:
    """A connector's position as people read it, and as `positions set` takes it."""
    return "the beginning" if position is None else msgspec.json.encode(position).decode()


def to_json(result: msgspec.Struct) -> dict[str, Any]:
    """Its fields in order, points in time to the second."""
    return {name: _to_json(value) for name, value in msgspec.structs.asdict(result).items()}


def _to_json(value: Any) -> Any:
    match value:
        case datetime():
            return format_time(value)
        case msgspec.Struct():
            return to_json(value)
        case list() | tuple():
            return [_to_json(element) for element in value]
    return value


def render_facts(row: Mapping[str, Any]) -> str:
    """A line a fact; what does not apply is left out."""
    facts: list[tuple[str, str]] = []
    for key, value in row.items():
        if key == "position":
            text = format_position(value)  # whole by `positions get`
            facts.append((key, text if len(text) <= LONGEST_POSITION else text[:LONGEST_POSITION] + "…"))
        elif isinstance(value, dict):
            facts += [(f"{key}.{name}", format_value(inner)) for name, inner in value.items()]
        elif value is not None:
            facts.append((key, f"{value:,}" if isinstance(value, int) else str(value)))
    width = max(len(key) for key, _ in facts)
    return "\n".join(f"{key:<{width}}  {value}" for key, value in facts)


def format_value(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

"""The part of the language that declares a feature view: the options of a route `to: features.<view>`.

- to: features.aircraft
  entity: aircraft                    # or {name: leg, keys: [origin, dest]}
  ttl: 30d
  lateness: 2h
  features:
    last_dest: dest                   # plain: the latest value of a clean field
    flights_24h: {count: id, window: 24h, slide: 1h}
    delay_7d: {mean: dep_delay, window: 7d, slide: 1d}
    airports_1d: {distinct: dest, window: 1d}         # no slide: tumbling
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from clearwell.contract.features import Aggregate, Window
from clearwell.contract.fields import FIELD_NAME
from clearwell.contract.problems import Problems
from clearwell.contract.shapes import Key, ListOf, Named, RecordShape, Text
from clearwell.contract.tree import Node
from clearwell.contract.values import kind
from clearwell.errors import Location

VIEW_NAME = Text(63, 1, "[a-z][a-z0-9_]{0,62}", "a lower-case word")
MAX_DAYS = 3_660

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])\Z")


@dataclass(frozen=True)
class Duration:
    """A whole number and its unit: 30s, 5m, 24h, 7d."""

    zero: bool = False

    def read(self, node: Node, called: str, problems: Problems) -> timedelta | None:
        value = node.value
        if self.zero and value in (0, "0s", "0m", "0h", "0d") and value is not False:
            return timedelta(0)
        match = _DURATION.match(value) if isinstance(value, str) else None
        if match is None:
            said = f'"{value[:20]}"' if isinstance(value, str) else kind(value)
            problems.add(f"{called} is {said}, but must be a duration such as 30s, 5m, 24h or 7d.", node.location)
            return None
        span = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if span > timedelta(days=MAX_DAYS):
            problems.add(f"{called} must be at most {MAX_DAYS}d.", node.location)
            return None
        return span

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^(0|[1-9][0-9]{0,8})[smhd]$" if self.zero else "^[1-9][0-9]{0,8}[smhd]$"}


def spelled(span: timedelta) -> str:
    """A duration as the language writes it, in the largest unit that leaves a whole number."""
    for unit, name in reversed(_UNITS.items()):
        whole, rest = divmod(span, timedelta(**{name: 1}))
        if not rest:
            return f"{whole}{unit}"
    return f"{span.total_seconds():g}s"


@dataclass(frozen=True, slots=True)
class WrittenFeature:
    """A feature as it was written: nothing is known of its field yet."""

    field: str
    field_at: Location
    location: Location
    aggregate: Aggregate | None = None
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class WrittenEntity:
    """An entity as it was written; `keys` with their places."""

    name: str
    keys: tuple[tuple[str, Location], ...]


def _build_aggregate(read: dict[str, Any], node: Node, called: str, problems: Problems) -> WrittenFeature | None:
    written: Mapping[str, Node] = node.value if isinstance(node.value, dict) else {}
    aggregates = [candidate for candidate in Aggregate if candidate in written]
    if len(aggregates) != 1:
        problems.add(
            f"{called} needs exactly one of {', '.join(Aggregate)}, as in {{count: id, window: 24h}}.", node.location
        )
        return None
    (aggregate,) = aggregates
    if "window" not in written:
        problems.add(
            f"{called} needs a window, as in {{{aggregate}: {read.get(aggregate, 'field')}, window: 24h}}.",
            node.location,
        )
        return None
    if not {aggregate.value, "window"} <= read.keys() or ("slide" in written and "slide" not in read):
        return None
    length = read["window"]
    window = Window(length, read.get("slide", length))
    if window.slide > length or length % window.slide:
        problems.add(f"{called} has a window that is not a multiple of its slide.", written["slide"].location)
        return None
    return WrittenFeature(
        read[aggregate], written[aggregate].location, node.named_at or node.location, aggregate, window
    )


_SAYS = {
    Aggregate.COUNT: "How many events in the window have this field (of a required one: how many events).",
    Aggregate.SUM: "The sum of this field over the window; 0 of none.",
    Aggregate.MEAN: "The mean of this field over the window.",
    Aggregate.MIN: "The smallest value of this field in the window.",
    Aggregate.MAX: "The largest value of this field in the window.",
    Aggregate.LAST: "The newest value of this field in the window.",
    Aggregate.DISTINCT: "How many different values this field has in the window.",
}

AGGREGATE = RecordShape(
    {one.value: Key(FIELD_NAME, says=says) for one, says in _SAYS.items()}
    | {
        "window": Key(Duration(), required=False, says="How much event time it looks back on: 1h, 24h, 7d."),
        "slide": Key(Duration(), says="How often the window moves on. Default: the window's length (tumbling)."),
    },
    build=_build_aggregate,
)


class FeatureShape:
    """`name: field` for a plain feature, `name: {sum: field, window: 24h}` for one over a window."""

    def read(self, node: Node, called: str, problems: Problems) -> WrittenFeature | None:
        if isinstance(node.value, dict):
            feature: WrittenFeature | None = AGGREGATE.read(node, called, problems)
            return feature
        name = FIELD_NAME.read(node, called, problems)
        return None if name is None else WrittenFeature(name, node.location, node.named_at or node.location)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [FIELD_NAME.schema() | {"description": "Plain: the latest value."}, AGGREGATE.schema()]}


_ENTITY = RecordShape(
    {
        "name": Key(VIEW_NAME, required=True, says="What the features are of."),
        "keys": Key(ListOf(FIELD_NAME, 1, 8, lone=True), required=True, says="The clean fields that tell them apart."),
    }
)


class EntityShape:
    """`entity: aircraft` (a clean field, which names the entity too) or `{name: leg, keys: [origin, dest]}`."""

    def read(self, node: Node, called: str, problems: Problems) -> WrittenEntity | None:
        if not isinstance(node.value, dict):
            name = FIELD_NAME.read(node, called, problems)
            return None if name is None else WrittenEntity(name, ((name, node.location),))
        read = _ENTITY.read(node, called, problems)
        if read is None:
            return None
        keys = node.value["keys"]
        places = [key.location for key in keys.value] if isinstance(keys.value, list) else [keys.location]
        return WrittenEntity(read["name"], tuple(zip(read["keys"], places, strict=True)))

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [FIELD_NAME.schema(), _ENTITY.schema()]}


OPTIONS: Mapping[str, Key] = {
    "entity": Key(EntityShape(), True, "Of a route to features: the clean field, or {name, keys}, that values are of."),
    "features": Key(Named(FIELD_NAME, FeatureShape(), "feature", 500), True, "Of a route to features: its features."),
    "ttl": Key(Duration(), says="How long an entity's values hold after its newest event. Default: for ever."),
    "lateness": Key(Duration(zero=True), says="How late an event may come and still be counted. Default: 1d."),
    "ahead": Key(Duration(zero=True), says="How far an event's time may be ahead of the clock. Default: 1d."),
    "allow_protected": Key(ListOf(FIELD_NAME, 1, 100, lone=True), says="Protected fields that may be features."),
}
"""The options of a route to features, by name."""

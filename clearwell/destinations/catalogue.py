"""The destinations there are, the options each takes in a route, and how one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clearwell.contract.model import CleanSchema, Contract, Route
from clearwell.contract.problems import Problems
from clearwell.destinations.mongo import MongoDestination
from clearwell.destinations.postgres import PostgresDestination
from clearwell.destinations.protocol import Destination
from clearwell.destinations.shape import NAME_RULE, is_name
from clearwell.errors import ConfigError, nearest
from clearwell.settings import Settings


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a route: the name of a table or a collection. Without it, the stream's name is taken."""

    name: str
    description: str


OPTIONS: Mapping[str, tuple[Option, ...]] = {
    "postgres": (Option("table", "The table that holds the stream's rows."),),
    "mongo": (Option("collection", "The collection that holds the stream's documents."),),
}
"""The allow-list: what may stand after `to:`, and beside it."""


def open_destination(settings: Settings, route: Route, schema: CleanSchema, group: str) -> Destination:
    """The destination of `route`, not yet connected (`Destination.open` does that).

    Raises ConfigError when the destination, an option or a name is not one there can be.
    """
    _refuse_unknown(route)
    if route.to == "postgres":
        return PostgresDestination(settings.postgres, schema, _holder(route, "table", schema.stream), group)
    return MongoDestination(settings.mongo, schema, _holder(route, "collection", schema.stream), group)


def check_routes(contract: Contract) -> None:
    """Judge every route of `contract`; raise ContractProblems with each problem, its place and the nearest spelling."""
    problems = Problems()
    seen: set[str] = set()
    for index, route in enumerate(contract.routes):
        place = route.where or contract.where
        if route.to not in OPTIONS:
            problems.add(_unknown_destination(route.to), contract.lines.get(f"routes.{index}.to", place))
            continue
        if route.to in seen:  # they would share a consumer group, and each see half of the events
            problems.add(f'There is a route to "{route.to}" already: one stream has one route to a destination.', place)
        seen.add(route.to)
        for option, sentence in _option_problems(route, contract.stream):
            problems.add(sentence, contract.lines.get(f"routes.{index}.{option}", place))
    problems.raise_any()


def _refuse_unknown(route: Route) -> None:
    if route.to not in OPTIONS:
        raise ConfigError(_unknown_destination(route.to))
    for _, sentence in _option_problems(route, ""):
        raise ConfigError(sentence)


def _unknown_destination(name: str) -> str:
    return f'There is no destination "{name}"; there are {", ".join(OPTIONS)}.{nearest(name, OPTIONS)}'


def _option_problems(route: Route, stream: str) -> list[tuple[str, str]]:
    """Pairs (option, sentence). With `stream`, also a missing name that the stream's name can't stand in for."""
    known = [option.name for option in OPTIONS[route.to]]
    found = [
        (name, f'A route to {route.to} has no option "{name}"; it takes {", ".join(known)}.{nearest(name, known)}')
        for name in route.options
        if name not in known
    ]
    for name in known:
        value: Any = route.options.get(name, stream or None)
        if value is not None and not is_name(value):
            found.append((name, f'"{str(value)[:80]}" can\'t be a {name}: give `{name}` {NAME_RULE}.'))
    return found


def _holder(route: Route, option: str, stream: str) -> str:
    return str(route.options.get(option, stream))

"""Routes against the clean schema: known destinations, their options, and a `when` that reveals nothing protected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from clearwell.contract.condition import check_condition
from clearwell.contract.feature_language import OPTIONS
from clearwell.contract.feature_views import KIND as FEATURES
from clearwell.contract.feature_views import read_view
from clearwell.contract.language import TOPIC, WORD
from clearwell.contract.model import ARCHIVE, CleanSchema, Contract, Route
from clearwell.contract.problems import Problems
from clearwell.contract.shapes import Shape
from clearwell.contract.tree import Node
from clearwell.errors import Location, nearest

GROUP = "clearwell.destinations"
"""The entry points of destinations that others write; their options are checked when a deliverer opens them."""


class Name(Enum):
    """Whether `to` has a name after the kind: `postgres` is the platform's own, `postgres.x` a registered one."""

    NO = "no"
    MAY = "may"
    MUST = "must"


class Kind(NamedTuple):
    """A kind of destination, as far as the language knows it; the first option is the place inside the store."""

    name: Name
    options: Mapping[str, Shape]


KINDS: Mapping[str, Kind] = {
    "postgres": Kind(Name.MAY, {"table": WORD}),
    "mongo": Kind(Name.MAY, {"collection": WORD}),
    "lake": Kind(Name.MAY, {"table": WORD}),
    ARCHIVE: Kind(Name.MAY, {}),
    "sql": Kind(Name.MUST, {"table": WORD}),
    "files": Kind(Name.MUST, {"folder": WORD}),
    "http": Kind(Name.MUST, {}),
    "kafka": Kind(Name.MUST, {"topic": TOPIC}),
    "opensearch": Kind(Name.MUST, {"index": WORD}),
    "cassandra": Kind(Name.MUST, {"table": WORD}),
    FEATURES: Kind(Name.MUST, {name: key.shape for name, key in OPTIONS.items()}),
}
"""The destinations there are. A place inside a store, such as a table, is named after the stream by default."""


def check_routes(contract: Contract, schema: CleanSchema, problems: Problems) -> None:
    """Note everything that is wrong with the contract's routes."""
    seen: set[str] = set()
    for number, route in enumerate(_as_written(contract)):
        path = f"routes.{number}"
        location = route.location or contract.location
        location = contract.lines.get(f"{path}.to", location)
        kind = KINDS.get(route.kind)
        if kind is None:
            _check_foreign(route, location, problems)
        elif route.kind == FEATURES:
            _check_name(route, kind, location, problems)
            read_view(schema, route.name or "?", Node.of(route.options, location, contract.lines, path), problems)
        else:
            _check_name(route, kind, location, problems)
            for name, value in route.options.items():
                _check_option(route, kind, name, value, contract.lines.get(f"{path}.{name}", location), problems)
        if route.to in seen:
            problems.add(f"There are two routes to {route.to}: join their conditions with `any`.", location)
        seen.add(route.to)
        if route.when is not None and route.kind == ARCHIVE:
            problems.add("A route to the archive has no `when`: raw events are sealed before they are read.", location)
        elif route.when is not None:
            check_condition(route.when, {field.name: field for field in schema.fields}, location, problems)


def _as_written(contract: Contract) -> list[Route]:
    """All routes, in the order of the file, which the numbers in `contract.lines` go by."""
    routes = [*contract.routes, *contract.archives]
    return sorted(routes, key=lambda route: (route.location or contract.location).line)


def _check_foreign(route: Route, location: Location, problems: Problems) -> None:
    if not entry_points(group=GROUP, name=route.kind):
        hint = nearest(route.kind, KINDS) or f" There are: {', '.join(KINDS)}."
        problems.add(f'There is no destination "{route.kind}".{hint}', location)


def _check_name(route: Route, kind: Kind, location: Location, problems: Problems) -> None:
    if route.name is None and kind.name is Name.MUST:
        problems.add(f"A route to {route.kind} needs a name: write `to: {route.kind}.<name>`.", location)
    elif route.name is not None and kind.name is Name.NO:
        problems.add(f"A route to {route.kind} has no name: write `to: {route.kind}`.", location)


def _check_option(route: Route, kind: Kind, name: str, value: Any, location: Location, problems: Problems) -> None:
    if name not in kind.options:
        hint = nearest(name, [*kind.options, "when"]) or f" Known options: {', '.join(kind.options) or 'none'}."
        problems.add(f'A route to {route.kind} has no option "{name}".{hint}', location)
    else:
        kind.options[name].read(Node(value, location), f"`{name}` of the route to {route.to}", problems)


def check_shared(contracts: Iterable[Contract]) -> None:
    """Raise ContractProblems where two streams would write into one table or collection."""
    problems = Problems()
    owners: dict[tuple[str, str], str] = {}
    for contract in contracts:
        for route in contract.routes:
            known = KINDS[route.kind].options if route.kind in KINDS else ()
            names = [str(route.options[name]) for name in known if name in route.options]
            own = str(route.name) if route.kind == FEATURES else contract.stream
            destination_table = (route.to, own if not names or route.kind == FEATURES else names[0])
            owner = owners.setdefault(destination_table, contract.stream)
            if owner != contract.stream:
                location = route.location or contract.location
                problems.add(
                    f'"{destination_table[1]}" in {route.to} holds the stream "{owner}" already: choose another.',
                    location,
                )
    problems.raise_any()

"""Routes against the clean schema: known destinations, their options, and a `when` that reveals nothing protected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clearwell.contract.condition import check_condition
from clearwell.contract.language import WORD
from clearwell.contract.model import CleanSchema, Contract, Route
from clearwell.contract.problems import Problems
from clearwell.contract.shapes import Text
from clearwell.contract.tree import Node
from clearwell.errors import Location, nearest

OPTIONS: Mapping[str, Mapping[str, Text]] = {"postgres": {"table": WORD}, "mongo": {"collection": WORD}}
"""The destinations there are, and the options of a route to each. Names of tables default to the stream's."""


def check_routes(contract: Contract, schema: CleanSchema, problems: Problems) -> None:
    """Note everything that is wrong with the contract's routes."""
    seen: set[str] = set()
    for number, route in enumerate(contract.routes):
        path = f"routes.{number}"
        where = route.where or contract.where
        if route.to not in OPTIONS:
            hint = nearest(route.to, OPTIONS) or f" There are: {', '.join(OPTIONS)}."
            place = contract.lines.get(f"{path}.to", where)
            problems.add(f'There is no destination "{route.to}".{hint}', place)
            continue
        if route.to in seen:
            problems.add(f"There are two routes to {route.to}: join their conditions with `any`.", where)
        seen.add(route.to)
        for name, value in route.options.items():
            _check_option(route, name, value, contract.lines.get(f"{path}.{name}", where), problems)
        if route.when is not None:
            check_condition(route.when, {field.name: field for field in schema.fields}, where, problems)


def _check_option(route: Route, name: str, value: Any, place: Location, problems: Problems) -> None:
    known = OPTIONS[route.to]
    if name not in known:
        hint = nearest(name, [*known, "when"]) or f" Known options: {', '.join(known)}."
        problems.add(f'A route to {route.to} has no option "{name}".{hint}', place)
    else:
        known[name].read(Node(value, place), f"`{name}` of the route to {route.to}", problems)


def check_shared(contracts: Iterable[Contract]) -> None:
    """Raise ContractProblems where two streams would write into one table or collection."""
    problems = Problems()
    owners: dict[tuple[str, str], str] = {}
    for contract in contracts:
        for route in contract.routes:
            names = [str(route.options[name]) for name in OPTIONS.get(route.to, ()) if name in route.options]
            place = (route.to, names[0] if names else contract.stream)
            owner = owners.setdefault(place, contract.stream)
            if owner != contract.stream:
                where = route.where or contract.where
                problems.add(f'"{place[1]}" in {route.to} holds the stream "{owner}" already: choose another.', where)
    problems.raise_any()

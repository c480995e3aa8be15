"""Routes against the clean schema: known destinations, their options, and a `when` that reveals nothing protected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import msgspec.inspect as shapes

from clearwell.contract.condition import check_condition
from clearwell.contract.feature_views import KIND as FEATURES
from clearwell.contract.feature_views import read_view
from clearwell.contract.model import ARCHIVE, CleanSchema, Contract, Route
from clearwell.contract.problems import Problems
from clearwell.contract.route_options import SHAPE, RouteOptions, destination_kinds, options_class
from clearwell.contract.tree import Node
from clearwell.errors import Location, nearest


def check_routes(contract: Contract, schema: CleanSchema, problems: Problems) -> None:
    """Note everything that is wrong with the contract's routes."""
    seen: set[str] = set()
    for number, route in enumerate(_as_written(contract)):
        path = f"routes.{number}"
        location = route.location or contract.location
        _check_kind(route, contract.lines.get(f"{path}.to", location), problems)
        options = options_class(route.kind)
        if route.kind == FEATURES:
            read_view(schema, route.name or "?", Node.of(route.options, location, contract.lines, path), problems)
        elif options is not None:
            for name, value in route.options.items():
                _check_option(route, options, name, value, contract.lines.get(f"{path}.{name}", location), problems)
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


def _check_kind(route: Route, location: Location, problems: Problems) -> None:
    kinds, options = destination_kinds(), options_class(route.kind)
    if route.kind not in kinds:
        hint = nearest(route.kind, kinds) or f" There are: {', '.join(kinds)}."
        problems.add(f'There is no destination "{route.kind}".{hint}', location)
    elif options is not None and options.needs_name and route.name is None:
        problems.add(f"A route to {route.kind} needs a name: write `to: {route.kind}.<name>`.", location)


def _check_option(
    route: Route, options: type[RouteOptions], name: str, value: Any, location: Location, problems: Problems
) -> None:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(options)}
    if name not in fields:
        hint = nearest(name, [*fields, "when"]) or f" Known options: {', '.join(fields) or 'none'}."
        problems.add(f'A route to {route.kind} has no option "{name}".{hint}', location)
        return
    called = f"`{name}` of the route to {route.to}"
    if (shape := _shape(shapes.type_info(fields[name]))) is not None:
        shape.read(Node(value, location), called, problems)
        return
    try:
        msgspec.convert(value, fields[name])
    except msgspec.ValidationError as error:
        problems.add(f"{called}: {error}.", location)


def _shape(type_: shapes.Type) -> Any:
    """The language's shape of an option's type, where it has one."""
    if isinstance(type_, shapes.Metadata):
        return (type_.extra or {}).get(SHAPE) or _shape(type_.type)
    types = type_.types if isinstance(type_, shapes.UnionType) else ()
    return next(filter(None, map(_shape, types)), None)


def container_of(contract: Contract, route: Route) -> str:
    """Where in its store a route's stream is: the table, collection, index, folder, topic or view."""
    if route.kind == FEATURES:
        return str(route.name)
    options = options_class(route.kind) or RouteOptions
    return str(route.options.get(options.container or "table", contract.stream))


def check_shared(contracts: Iterable[Contract]) -> None:
    """Raise ContractProblems where two streams would write into one table or collection."""
    problems = Problems()
    owners: dict[tuple[str, str], str] = {}
    for contract in contracts:
        for route in contract.routes:
            container = container_of(contract, route)
            owner = owners.setdefault((route.to, container), contract.stream)
            if owner != contract.stream:
                message = f'"{container}" in {route.to} holds the stream "{owner}" already: choose another.'
                problems.add(message, route.location or contract.location)
    problems.raise_any()

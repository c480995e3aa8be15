"""What a place in a store (a table, a collection, an index) that one version filled can't take of a later one.

The stores find out for themselves when a deliverer opens them; this tells the author of the contract beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from clearwell.contract.model import CleanSchema, Contract, Field, Route, Type
from clearwell.contract.problems import Problems
from clearwell.contract.route_options import RouteOptions, options_class
from clearwell.contract.routes import container_of

_DIGITS = {Type.INT32: 10, Type.INT64: 19}


@dataclass(frozen=True, slots=True)
class Version:
    """A contract and what its steps lead to."""

    contract: Contract
    schema: CleanSchema


def widens(old: Field, new: Field) -> bool:
    """Whether every stored value of `old` is exactly one of `new`, of another type."""
    was, now = old.clean_type, new.clean_type
    if was is Type.DECIMAL and now is Type.DECIMAL:
        return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    if now is Type.DECIMAL:
        return was in _DIGITS and new.precision - new.scale >= _DIGITS[was]
    return was is Type.INT32 and now in (Type.INT64, Type.FLOAT64)


def check_versions(new: Version, older: Iterable[Version], problems: Problems) -> None:
    """Note what in `new` does not fit the places that older versions of the stream have filled, and the way out."""
    said: set[tuple[str, str]] = set()
    for old in sorted(older, key=lambda version: -version.contract.version):
        filled = {_place(old.contract, route) for route in old.contract.routes if _options(route.kind).keeps_types}
        for route in new.contract.routes:
            if _place(new.contract, route) in filled:
                for field, wrong in _misfits(route.kind, old.schema, new.schema):
                    if (route.to, field) not in said:
                        said.add((route.to, field))
                        _note(new.contract, route, wrong, old.contract.version, problems)


def _misfits(kind: str, old: CleanSchema, new: CleanSchema) -> Iterator[tuple[str, str]]:
    if old.key != new.key and set(old.key) != set(new.key):
        yield "key", f"by the key {_listed(old.key)}, which becomes {_listed(new.key)}"
    before = {field.name.lower(): field for field in old.fields}
    for field in new.fields:
        was = before.get(field.name.lower())
        if was is None:
            continue
        if was.name != field.name:
            yield field.name, f'with "{was.name}", which becomes "{field.name}": stores may not tell cases apart'
        elif _told(was) != _told(field) and not (_options(kind).widens and (widens(was, field) or widens(field, was))):
            yield field.name, f'with "{field.name}" as {_told(was)}, which becomes {_told(field)}'


def _note(contract: Contract, route: Route, wrong: str, since: int, problems: Problems) -> None:
    name, option = container_of(contract, route), _options(route.kind).container
    if route.kind == "features":
        out = f"route to features.{name[:60]}_{contract.version}"
    elif option is not None:
        out = f"give this route a place of its own (`{option}: {name[:60]}_v{contract.version}`)"
    else:
        out = "give this route a place of its own"
    what = "view" if route.kind == "features" else option or "place"
    problems.add(
        f'The {what} "{name}" of {route.to} was filled by v{since} {wrong}: its deliverer would stop. Keep it, or '
        f"{out} and fill it by a replay from the earliest event.",
        route.location or contract.location,
    )


def _options(kind: str) -> type[RouteOptions]:
    return options_class(kind) or RouteOptions


def _place(contract: Contract, route: Route) -> tuple[str, str]:
    """The route's store, and the place inside it."""
    return route.to, container_of(contract, route)


def _told(field: Field) -> str:
    """The stored type in words, as far as stores tell types apart."""
    stored = field.clean_type
    digits = f"({field.precision},{field.scale})"
    if stored is Type.LIST:
        items = field.items or Type.STRING
        return f"list of {items}{digits if items is Type.DECIMAL else ''}"
    return f"decimal{digits}" if stored is Type.DECIMAL else stored.value


def _listed(key: Iterable[str]) -> str:
    return f"({', '.join(key)})"

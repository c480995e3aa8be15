"""A contract for people: tables, one below the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from rich.console import Group, RenderableType

from clearwell.cli.output import table
from clearwell.control.contracts import ContractDetails

_COLUMNS = ("field", "type", "null", "values", "unit", "protection", "description")


def render_contract(contract: ContractDetails, published: str) -> RenderableType:
    """Fields, steps, clean event, routes and feature views; `published`: what is, in words."""
    heads = [f"{contract.stream} v{contract.version}, owned by {contract.owner}", contract.description]
    heads.append(f"key {', '.join(contract.key)}; event id {contract.event_id}; event time {contract.event_time}")
    heads.append(f"subject {contract.subject or 'none'}; undeclared fields: {contract.unknown_fields}")
    steps = [(number, *_named(step)) for number, step in enumerate(contract.steps, 1)]
    heads.append(f"published: {published}")
    routes = [(route["to"], _options(route), route["when"]) for route in contract.routes]
    return Group(
        *filter(None, heads),
        "\nWhat comes in",
        table(_COLUMNS, [_row(field) for field in contract.fields]),
        "\nSteps",
        table(("", "step", "arguments"), steps) if steps else "none",
        "\nWhat goes out",
        table(_COLUMNS, [_row(field) for field in contract.clean]),
        "\nRoutes",
        table(("to", "options", "when"), routes) if routes else "none",
        *_views(contract),
    )


def _named(step: Mapping[str, Any]) -> tuple[str, str]:
    ((name, arguments),) = step.items()
    return name, msgspec.json.encode(arguments).decode()


def _row(field: Mapping[str, Any]) -> tuple[str, ...]:
    type_ = f"list of {field['items']}" if "items" in field else str(field["type"])
    null = "never" if field["required"] else "may be"
    rules = "; ".join(_rules(field))
    return (
        field["name"],
        type_,
        null,
        rules,
        field.get("unit", ""),
        field.get("privacy", ""),
        field.get("description", ""),
    )


def _rules(field: Mapping[str, Any]) -> Iterable[str]:
    if "minimum" in field:
        yield f"from {field['minimum']}"
    if "maximum" in field:
        yield f"up to {field['maximum']}"
    if "max_length" in field:
        yield f"at most {field['max_length']} long"
    if "pattern" in field:
        yield f"like {field['pattern']}"
    if "allowed" in field:
        yield f"one of {', '.join(map(str, field['allowed']))}"


def _options(route: Mapping[str, Any]) -> str:
    """Without the features of a view, which have a table of their own."""
    plain = {name: value for name, value in route.items() if name not in ("to", "when")}
    if route["to"].startswith("features."):
        plain = {name: value for name, value in plain.items() if isinstance(value, str)}
    return ", ".join(f"{name} {value}" for name, value in plain.items())


def _views(contract: ContractDetails) -> Iterable[RenderableType]:
    for view in contract.feature_views:
        yield f"\nFeature view {view.view}: entity {view.entity} ({', '.join(view.keys)})"
        rows = [(feature.feature, feature.type, feature.made_of, feature.window) for feature in view.features]
        yield table(("feature", "type", "made of", "window"), rows)

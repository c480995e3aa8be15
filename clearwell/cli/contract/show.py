"""A contract for people (tables) and for programs (one object)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from rich.console import Group, RenderableType

from clearwell.cli.output import table
from clearwell.contract.feature_language import spelled
from clearwell.contract.feature_views import KIND as FEATURES
from clearwell.contract.feature_views import views_of
from clearwell.contract.features import Feature
from clearwell.contract.model import Condition, Field, Route
from clearwell.pipeline.compiler import Pipeline

_COLUMNS = ("field", "type", "null", "values", "unit", "protection", "description")


def as_text(pipeline: Pipeline) -> RenderableType:
    """Fields, steps, clean event and routes, one below the other."""
    contract, schema = pipeline.contract, pipeline.schema
    heads = [f"{contract.stream} v{contract.version}, owned by {contract.owner}", contract.description]
    heads.append(f"key {', '.join(contract.key)}; event id {contract.event_id}; event time {contract.event_time}")
    heads.append(f"subject {contract.subject or 'none'}; undeclared fields: {contract.unknown_fields}")
    steps = [(number, step.name, _compact(step.args)) for number, step in enumerate(contract.steps, 1)]
    routes = [(one.to, _options(one), said(one.when)) for one in (*contract.routes, *contract.archives)]
    return Group(
        *filter(None, heads),
        "\nWhat comes in",
        table(_COLUMNS, [_row(one) for one in contract.fields]),
        "\nSteps",
        table(("", "step", "arguments"), steps) if steps else "none",
        "\nWhat goes out",
        table(_COLUMNS, [_row(one) for one in schema.fields]),
        "\nRoutes",
        table(("to", "options", "when"), routes) if routes else "none",
        *_views(pipeline),
    )


def as_object(pipeline: Pipeline) -> dict[str, Any]:
    """The same for programs."""
    contract, schema = pipeline.contract, pipeline.schema
    return {
        "stream": contract.stream,
        "version": contract.version,
        "owner": contract.owner,
        "description": contract.description,
        "key": contract.key,
        "event_id": contract.event_id,
        "event_time": contract.event_time,
        "subject": contract.subject,
        "unknown_fields": contract.unknown_fields,
        "fields": [_object(one) for one in contract.fields],
        "steps": [{step.name: step.args} for step in contract.steps],
        "clean": [_object(one) for one in schema.fields],
        "routes": [
            {"to": one.to, **one.options, "when": said(one.when)} for one in (*contract.routes, *contract.archives)
        ],
        "limits": contract.limits,
        "examples": [one.name for one in contract.examples],
        "lookback": pipeline.lookback,
    }


def said(condition: Condition | None) -> str:
    """A condition in words: `carrier eq "UA"`; "always" for none."""
    if condition is None:
        return "always"
    if condition.parts:
        return f"{condition.op} ({'; '.join(said(part) for part in condition.parts)})"
    return f"{condition.field} {condition.op} {_compact(condition.value)}"


def _row(field: Field) -> tuple[str, ...]:
    type_ = f"list of {field.items}" if field.items else str(field.type)
    null = "never" if field.required else "may be"
    return (field.name, type_, null, "; ".join(_rules(field)), field.unit or "", _protection(field), field.description)


def _rules(field: Field) -> Iterable[str]:
    if field.minimum is not None:
        yield f"from {field.minimum}"
    if field.maximum is not None:
        yield f"up to {field.maximum}"
    if field.max_length is not None:
        yield f"at most {field.max_length} long"
    if field.pattern is not None:
        yield f"like {field.pattern}"
    if field.allowed is not None:
        yield f"one of {', '.join(map(str, field.allowed))}"


def _protection(field: Field) -> str:
    if field.privacy is None:
        return ""
    return f"{field.privacy.kind} by {field.privacy.width:g}" if field.privacy.width else str(field.privacy.kind)


def _object(field: Field) -> dict[str, Any]:
    known = {name: getattr(field, name) for name in Field.__dataclass_fields__ if name != "where"}
    known["privacy"] = _protection(field) or None
    return {name: value for name, value in known.items() if value is not None and value != ""}


def _options(route: Route) -> str:
    shown = {name: value for name, value in route.options.items() if route.kind != FEATURES or isinstance(value, str)}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _views(pipeline: Pipeline) -> Iterable[RenderableType]:
    """A heading and a table for each feature view."""
    for view in views_of(pipeline.contract, pipeline.schema):
        keys = ", ".join(key.name for key in view.entity.keys)
        rows = [(one.name, str(one.type), _made(one), _window(one)) for one in view.features]
        yield f"\nFeature view {view.name}: entity {view.entity.name} ({keys})"
        yield table(("feature", "type", "made of", "window"), rows)


def _made(feature: Feature) -> str:
    source = feature.source.name
    return f"latest {source}" if feature.aggregate is None else f"{feature.aggregate} of {source}"


def _window(feature: Feature) -> str:
    if feature.window is None:
        return ""
    length, slide = spelled(feature.window.length), spelled(feature.window.slide)
    return f"{length}, tumbling" if feature.window.tumbling else f"{length}, every {slide}"


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()

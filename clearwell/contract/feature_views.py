"""Feature views against the clean schema: every field is there, and of a type that its aggregate can take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from clearwell.contract.feature_language import OPTIONS, WrittenEntity, WrittenFeature
from clearwell.contract.features import Aggregate, Entity, Feature, FeatureView
from clearwell.contract.model import CleanSchema, Contract, Field, Type
from clearwell.contract.problems import Problems
from clearwell.contract.shapes import RecordShape
from clearwell.contract.tree import Node
from clearwell.contract.values import NUMBERS, ORDERED
from clearwell.errors import Location, nearest

KIND = "features"
MAX_TILES = 10_000
"""In one window: a read folds them all."""

DEFAULT_LATENESS = timedelta(days=1)
DEFAULT_AHEAD = timedelta(days=1)

_RESERVED = ("event_timestamp", "created_timestamp")
"""Names that Feast gives to columns of its own."""

_NOWHERE = Location("?", 1)


def view_of(schema: CleanSchema, name: str, options: Mapping[str, Any]) -> FeatureView:
    """The view that a route's plain options spell out. Raises ContractProblems with all that is wrong."""
    problems = Problems()
    view = read_view(schema, name, Node.of(dict(options), _NOWHERE), problems)
    problems.raise_any()
    assert view is not None
    return view


def views_of(contract: Contract, schema: CleanSchema) -> tuple[FeatureView, ...]:
    """The views of a contract that `clearwell.steps.bind` has judged, whose clean schema is `schema`."""
    routes = [route for route in contract.routes if route.kind == KIND and route.name is not None]
    return tuple(view_of(schema, str(route.name), route.options) for route in routes)


def read_view(schema: CleanSchema, name: str, options: Node, problems: Problems) -> FeatureView | None:
    """The view called `name` whose options are the map `options`; None after noting what is wrong."""
    before = len(problems)
    read = RecordShape(OPTIONS).read(options, f"the route to {KIND}.{name}", problems)
    if read is None:
        return None
    fields = {field.name: field for field in schema.fields}
    entity = _entity(read["entity"], fields, problems)
    allowed = _allowed(read.get("allow_protected", ()), fields, options, problems)
    features = [
        _feature(feature_name, written, fields, allowed, problems) for feature_name, written in read["features"].items()
    ]
    known = tuple(feature for feature in features if feature is not None)
    if len(problems) > before or entity is None:
        return None
    view = FeatureView(
        name,
        schema.stream,
        schema.version,
        schema.event_time,
        entity,
        known,
        read.get("ttl"),
        read.get("lateness", DEFAULT_LATENESS),
        read.get("ahead", DEFAULT_AHEAD),
    )
    for message, location in _disagreements(view):
        problems.add(message, location or options.location)
    return view if len(problems) == before else None


def _entity(written: WrittenEntity, fields: Mapping[str, Field], problems: Problems) -> Entity | None:
    keys: list[Field] = []
    for name, location in written.keys:
        field = _known(name, fields, location, problems)
        if field is None:
            continue
        if field.privacy is not None and not field.privacy.kind.traits.joinable:
            problems.add(f'"{name}" is protected, so an entity can\'t be told by it: use a pseudonym of it.', location)
        elif field.clean_type in (Type.JSON, Type.LIST):
            problems.add(
                f'"{name}" is a {field.clean_type}, so an entity can\'t be told by it: use a scalar.', location
            )
        elif field in keys:
            problems.add(f'"{name}" is there twice.', location)
        keys.append(field)
    return Entity(written.name, tuple(keys)) if len(keys) == len(written.keys) else None


def _allowed(names: Sequence[str], fields: Mapping[str, Field], options: Node, problems: Problems) -> frozenset[str]:
    location = (
        options.value["allow_protected"].location if names and isinstance(options.value, dict) else options.location
    )
    for name in names:
        field = _known(name, fields, location, problems)
        if field is not None and field.privacy is None:
            problems.add(f'"{name}" is not protected: take it out of `allow_protected`.', location)
    return frozenset(names)


def _known(name: str, fields: Mapping[str, Field], location: Location, problems: Problems) -> Field | None:
    if name not in fields:
        problems.add(f'The clean event has no field "{name}".{nearest(name, fields)}', location)
    return fields.get(name)


def _feature(
    name: str, written: WrittenFeature, fields: Mapping[str, Field], allowed: frozenset[str], problems: Problems
) -> Feature | None:
    field = _known(written.field, fields, written.field_at, problems)
    if field is None:
        return None
    wrong = _unfit(field, written.aggregate) or _unsafe(field, written.aggregate, allowed)
    if wrong:
        problems.add(wrong, written.field_at)
        return None
    return Feature(name, field, written.aggregate, written.window, written.location)


def _unfit(field: Field, aggregate: Aggregate | None) -> str | None:
    """Why the type can't be a feature like that, as a sentence."""
    type_ = field.clean_type
    if aggregate in (Aggregate.SUM, Aggregate.MEAN) and type_ not in NUMBERS:
        return f'"{field.name}" is a {type_}, and {aggregate} is of numbers.'
    if aggregate in (Aggregate.MIN, Aggregate.MAX) and type_ not in ORDERED:
        return f'"{field.name}" is a {type_}, and {aggregate} is of numbers, timestamps and dates.'
    if aggregate in (Aggregate.LAST, Aggregate.DISTINCT) and type_ in (Type.JSON, Type.LIST):
        return f'"{field.name}" is a {type_}, and {aggregate} is of scalars.'
    if aggregate is None and type_ is Type.JSON:
        return f'"{field.name}" is json, which has no type in a feature store: derive a field from it.'
    return None


def _unsafe(field: Field, aggregate: Aggregate | None, allowed: frozenset[str]) -> str | None:
    """Why protection keeps the field from being a feature, as a sentence; counts reveal nothing of a value."""
    if field.privacy is None or aggregate is Aggregate.COUNT:
        return None
    if not field.privacy.kind.traits.deterministic:
        return f'"{field.name}" is encrypted, anew in each event: it can\'t be a feature. Use a pseudonym of it.'
    if field.name in allowed:
        return None
    return (
        f'"{field.name}" is protected ({field.privacy.kind}): write `allow_protected: [{field.name}]` in the route if '
        "models may have it."
    )


def _disagreements(view: FeatureView) -> Iterator[tuple[str, Location | None]]:
    """What is wrong between the parts of a view, each with its place."""
    keys = {key.name for key in view.entity.keys}
    seen: dict[str, str] = {}
    served: dict[str, str] = {}
    for feature in view.features:
        if feature.name in keys:
            yield (
                f'The feature "{feature.name}" has the name of an entity key: call it something else.',
                feature.location,
            )
        if feature.name in _RESERVED:
            yield f'The name "{feature.name}" is Feast\'s own: call the feature something else.', feature.location
        if (other := seen.setdefault(feature.name.lower(), feature.name)) != feature.name:
            yield f'"{feature.name}" and "{other}" differ only in case; stores may mix them up.', feature.location
        full = f"{view.name}__{feature.name}"[:63]  # what a training set calls it, cut as PostgreSQL cuts names
        if (other := served.setdefault(full, feature.name)) != feature.name:
            yield (
                f'"{feature.name}" and "{other}" are the same in the 63 bytes of a name: shorten them.',
                feature.location,
            )
        if feature.window is not None and view.tile is not None and feature.window.length // view.tile > MAX_TILES:
            yield (
                f"The window is more than {MAX_TILES} of the view's tiles long: take a longer slide.",
                feature.location,
            )
    longest = max(
        (windowed.window.length + windowed.window.slide for windowed in view.aggregated if windowed.window),
        default=timedelta(0),
    )
    if view.ttl is not None and view.ttl < longest:
        yield "`ttl` is shorter than the longest window and its slide: values would vanish before their events.", None

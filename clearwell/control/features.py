"""Feature views as people and programs see them: what contracts declare, and what is served and was. Without Feast."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from clearwell.contract.feature_language import spelled
from clearwell.contract.features import Feature, FeatureView
from clearwell.control.platform import Platform
from clearwell.destinations.features.read import OnlineRow, read_online
from clearwell.destinations.features.tiles import Entity
from clearwell.errors import ConfigError, Retryable, nearest
from clearwell.features.declared_views import DeclaredView, declared_views, find_view
from clearwell.features.entity_keys import parse_entity
from clearwell.features.excluded_events import ExcludedEvents, excluded_events
from clearwell.features.history import history, read_timelines


class ViewSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A view, how many features it has without and with a window; spans as contracts write them."""

    view: str
    stream: str
    entity: str
    plain: int
    windowed: int
    ttl: str
    lateness: str


class ViewKey(msgspec.Struct, frozen=True):
    """One key of the entity."""

    name: str
    type: str


class ViewFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature of the field `of`; the last three are None where it is that field's latest value."""

    feature: str
    type: str
    of: str
    aggregate: str | None
    window: str | None
    slide: str | None


class ViewDetails(ViewSummary, frozen=True, kw_only=True):
    """A whole view. `late` and `beneath` are events that its windows leave out; None where that is not known."""

    late: int | None
    beneath: int | None
    owner: str
    keys: Sequence[ViewKey]
    features: Sequence[ViewFeature]
    digest: str


class EntityValues(msgspec.Struct, frozen=True, kw_only=True):
    """What the view knows of one entity; the fields are as those of `OnlineRow`."""

    entity: Mapping[str, Any]
    known: bool
    event_time: datetime | None
    expired: bool
    pruned: Sequence[str]
    values: Mapping[str, Any]


class ViewValues(msgspec.Struct, frozen=True):
    """One row for each entity that was asked for, in that order."""

    view: str
    rows: Sequence[EntityValues]


class ValuesAt(msgspec.Struct, frozen=True):
    """The values from `time` on."""

    time: datetime
    event_time: datetime | None
    expired: bool
    values: Mapping[str, Any]


class EntityHistory(msgspec.Struct, frozen=True):
    """One entity, with a moment for each change of a value."""

    entity: Mapping[str, Any]
    moments: Sequence[ValuesAt]


class ViewHistory(msgspec.Struct, frozen=True):
    """`cut`: there is more than was asked for."""

    view: str
    entities: Sequence[EntityHistory]
    cut: bool


def list_views(schemas: Path) -> list[ViewSummary]:
    """The views of all contracts. Raises ConfigError when a contract is wrong, or two streams share a view."""
    return [ViewSummary(**_summary(declared)) for declared in declared_views(schemas)]


def show_view(schemas: Path, name: str, platform: Platform | None = None) -> ViewDetails:
    """One view; of a platform that runs, what its windows leave out. Raises ConfigError with the nearest name."""
    declared = find_view(schemas, name)
    view = declared.view
    excluded = None if platform is None else _excluded(platform, view)
    return ViewDetails(
        **_summary(declared),
        late=None if excluded is None else excluded.late,
        beneath=None if excluded is None else excluded.beneath,
        owner=declared.contract.owner,
        keys=[ViewKey(key.name, str(key.clean_type)) for key in view.entity.keys],
        features=[_feature(feature) for feature in view.features],
        digest=view.digest(),
    )


def get_values(
    platform: Platform, name: str, keys: Sequence[str], features: Sequence[str] = (), at: datetime | None = None
) -> ViewValues:
    """What is served of entities, now or as of `at`; only of `features`, if there are any.

    keys: each is the value of the entity's key, or of several in order with commas between. Raises ConfigError when a
    name or a key does not fit, or the view was never delivered to; Retryable where the server is not well.
    """
    view = find_view(platform.settings.schemas, name).view
    entities = [parse_entity(view, key) for key in keys]
    selected = _select(view, features)
    rows = read_online(platform.settings, view, entities, at)
    return ViewValues(name, [_values(view, row, selected) for row in rows])


def show_history(
    platform: Platform,
    name: str,
    keys: Sequence[str],
    start: datetime | None,
    end: datetime,
    limit: int = 1_000,
) -> ViewHistory:
    """What the values of entities (all where `keys` is empty) were, from `start` (None: the first event) up to `end`.

    At most `limit` moments. Raises as `get_values`, and ConfigError when a file of the history is missing.
    """
    view = find_view(platform.settings.schemas, name).view
    entities = [parse_entity(view, key) for key in keys] or None
    timelines = read_timelines(platform.settings, view, end, entities)
    histories: list[EntityHistory] = []
    left = limit
    for entity in sorted(entities or timelines):
        moments = history(timelines[entity], start, end) if entity in timelines and left else ()
        values = [
            ValuesAt(moment.time, moment.event_time, moment.expired, moment.values)
            for moment in itertools.islice(moments, left)
        ]
        histories.append(EntityHistory(entity_object(view, entity), values))
        left -= len(values)
    return ViewHistory(name, histories, not left)


def entity_object(view: FeatureView, entity: Entity) -> dict[str, Any]:
    """An entity by the names of its keys."""
    return {key.name: value for key, value in zip(view.entity.keys, entity, strict=True)}


def _excluded(platform: Platform, view: FeatureView) -> ExcludedEvents | None:
    """None where nothing runs, or the view was never delivered to."""
    try:
        return excluded_events(platform.settings, view)
    except (ConfigError, Retryable):
        return None


def _summary(declared: DeclaredView) -> dict[str, Any]:
    view = declared.view
    return {
        "view": view.name,
        "stream": f"{view.stream} v{view.version}",
        "entity": view.entity.name,
        "plain": len(view.plain),
        "windowed": len(view.aggregated),
        "ttl": "for ever" if view.ttl is None else spelled(view.ttl),
        "lateness": spelled(view.lateness),
    }


def _feature(feature: Feature) -> ViewFeature:
    window = feature.window
    return ViewFeature(
        feature=feature.name,
        type=f"list of {feature.source.items}" if feature.source.items else str(feature.type),
        of=feature.source.name,
        aggregate=None if feature.aggregate is None else str(feature.aggregate),
        window=None if window is None else spelled(window.length),
        slide=None if window is None else spelled(window.slide),
    )


def _select(view: FeatureView, names: Sequence[str]) -> list[str]:
    known = [feature.name for feature in view.features]
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f" There are: {', '.join(known)}."
            raise ConfigError(f'The view "{view.name}" has no feature "{name}".{hint}')
    return [name for name in known if not names or name in names]


def _values(view: FeatureView, row: OnlineRow, selected: Sequence[str]) -> EntityValues:
    return EntityValues(
        entity=entity_object(view, row.entity),
        known=row.event_time is not None,
        event_time=row.event_time,
        expired=row.expired,
        pruned=[name for name in row.pruned if name in selected],
        values={name: row.values[name] for name in selected},
    )

"""Brings Feast's registry to what the contracts declare: says what differs, and leaves alone what is equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from feast import Entity, FeatureStore, FileSource
from feast import FeatureView as FeastView
from feast.data_source import DataSource

from clearwell.contract.feature_language import spelled
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.table import make_tables
from clearwell.errors import ConfigError
from clearwell.features.declared_views import DeclaredView
from clearwell.features.feast_config import PROJECT, write_file
from clearwell.features.feast_objects import VIEW_TAG, FeastObjects, describe_feature, objects_of
from clearwell.features.feast_store import changing_store, closing_store, registry_exists, translate_errors
from clearwell.features.registry_plan import RegistryChange, RegistryPlan
from clearwell.features.view_text import decode_view
from clearwell.settings import Settings


def plan_registry(settings: Settings, declared: Sequence[DeclaredView], project: str = PROJECT) -> RegistryPlan:
    """What would have to change for the project's registry to say what the contracts declare.

    Raises ConfigError when a definition can't be in Feast, Retryable when a server is not there.
    """
    objects = objects_of(declared, settings)
    if not registry_exists(settings):
        return RegistryPlan(project, len(objects), _differences(None, project, objects))
    with closing_store(settings, project) as store:
        return RegistryPlan(project, len(objects), _differences(store, project, objects))


def apply_registry(settings: Settings, declared: Sequence[DeclaredView], plan: RegistryPlan) -> Path:
    """Carry the plan out, and make the online tables fit; returns `feature_store.yaml`. Again: nothing changes.

    Objects that no contract put there stay as they are. Raises ConfigError when something else would have to change now
    ("plan_is_old"), a table can't become what its view is now, or a view that a feature service uses would go.
    """
    objects = objects_of(declared, settings)
    with changing_store(settings, plan.project) as store:
        changes = _differences(store, plan.project, objects)
        _require_planned(plan, changes)
        if changes:
            _make_tables(settings, declared)
            with translate_errors():
                _apply(store, plan.project, objects, changes)
    return write_file(settings, plan.project)


def _require_planned(plan: RegistryPlan, changes: Sequence[RegistryChange]) -> None:
    """Two who apply at once: one wins, the other is told what has moved."""
    moved = [f"{change.action} {change.kind} {change.name}" for change in changes if change not in plan.changes]
    moved += [f"no {change.action} {change.kind} {change.name}" for change in plan.changes if change not in changes]
    if moved:
        raise ConfigError(
            f"Feast's project {plan.project} or the contracts have changed since this was planned: it would be "
            f"{', '.join(moved)} now. Plan again.",
            code="plan_is_old",
        )


def _make_tables(settings: Settings, declared: Sequence[DeclaredView]) -> None:
    """First, since Feast changes its registry piece by piece: a table that can't fit its view leaves all as it was."""
    for declared_view in declared:
        with connect(settings.postgres, declared_view.view) as session:
            make_tables(session, declared_view.view)


def _apply(
    store: FeatureStore, project: str, objects: Sequence[FeastObjects], changes: Sequence[RegistryChange]
) -> None:
    gone = {(change.kind, change.name) for change in changes if change.action == "remove"}
    views = [view for view in _views(store, project).values() if ("view", view.name) in gone]
    _check_services(store, project, {view.name for view in views})
    entities = [entity for entity in _entities(store, project).values() if ("entity", entity.name) in gone]
    sources = [source for view in views for source in (view.stream_source, view.batch_source) if source is not None]
    store.apply(_objects(objects), objects_to_delete=[*views, *sources, *entities], partial=False)


def _check_services(store: FeatureStore, project: str, views: set[str]) -> None:
    for service in store.registry.list_feature_services(project):
        used = sorted(views & {projection.name for projection in service.feature_view_projections})
        if used:
            raise ConfigError(
                f'The feature service "{service.name}" uses the view "{used[0]}", which no contract declares any more: '
                f"remove the service from Feast first, or declare the view again."
            )


def _objects(objects: Sequence[FeastObjects]) -> list[Any]:
    """Everything that is to be in the registry; an entity that several views have, once."""
    entities = {entity.name: entity for view_objects in objects for entity in view_objects.entities}
    return [
        *entities.values(),
        *(view_objects.push for view_objects in objects),
        *(view_objects.view for view_objects in objects),
    ]


def _differences(
    store: FeatureStore | None, project: str, objects: Sequence[FeastObjects]
) -> tuple[RegistryChange, ...]:
    with translate_errors():
        entities = _entities(store, project) if store else {}
        views = _views(store, project) if store else {}
    changes = (*_entity_changes(entities, objects), *_view_changes(views, objects))
    for change in changes:
        known = (entities if change.kind == "entity" else views).get(change.name)
        if known is not None and VIEW_TAG not in known.tags:
            raise ConfigError(
                f'The project "{project}" of Feast has a {change.kind} "{change.name}" of somebody else: remove it '
                "there, or apply to another project."
            )
    return changes


def _entities(store: FeatureStore, project: str) -> dict[str, Entity]:
    return {entity.name: entity for entity in store.registry.list_entities(project)}


def _views(store: FeatureStore, project: str) -> dict[str, FeastView]:
    return {view.name: view for view in store.registry.list_feature_views(project)}


def _entity_changes(known: dict[str, Entity], objects: Sequence[FeastObjects]) -> Iterator[RegistryChange]:
    declared = {entity.name: entity for view_objects in objects for entity in view_objects.entities}
    for name, entity in sorted(declared.items()):
        if name not in known:
            yield RegistryChange("add", "entity", name, (f"key {entity.join_key}",))
        elif entity != known[name]:
            yield RegistryChange("change", "entity", name)
    for name in sorted(known.keys() - declared.keys()):
        if VIEW_TAG in known[name].tags:
            yield RegistryChange("remove", "entity", name)


def _view_changes(known: dict[str, FeastView], objects: Sequence[FeastObjects]) -> Iterator[RegistryChange]:
    declared = {view_objects.view.name: view_objects for view_objects in objects}
    for name, view_objects in sorted(declared.items()):
        view = view_objects.declared.view
        if name not in known:
            keys = ", ".join(key.name for key in view.entity.keys)
            features = [f"+ {feature.name}: {feature.type}, {describe_feature(feature)}" for feature in view.features]
            yield RegistryChange("add", "view", name, (f"entity {view.entity.name} ({keys})", *features))
        else:
            details = tuple(_details(known[name], view_objects))
            if details:
                yield RegistryChange("change", "view", name, details)
    for name in sorted(known.keys() - declared.keys()):
        if VIEW_TAG in known[name].tags:
            yield RegistryChange(
                "remove", "view", name, ("its rows stay in the online store, for its deliverer to use",)
            )


def _details(known: FeastView, objects: FeastObjects) -> Iterator[str]:
    after = decode_view(objects.view.tags[VIEW_TAG])
    try:
        before = decode_view(known.tags.get(VIEW_TAG, ""))
    except ConfigError:
        yield "as this version of Clearwell writes it"
        return
    for label, old, new in (
        ("stream", _stream(before), _stream(after)),
        ("entity", _entity(before), _entity(after)),
        ("ttl", _span(before), _span(after)),
        ("lateness", spelled(before.lateness), spelled(after.lateness)),
        ("owner", known.owner, objects.view.owner),
        ("history", _path(known.batch_source), objects.history.path),
    ):
        if old != new:
            yield f"{label}: {old} → {new}"
    olds = {feature.name: f"{feature.type}, {describe_feature(feature)}" for feature in before.features}
    news = {feature.name: f"{feature.type}, {describe_feature(feature)}" for feature in after.features}
    yield from (f"- {name}: {olds[name]}" for name in olds if name not in news)
    yield from (f"+ {name}: {news[name]}" for name in news if name not in olds)
    yield from (f"~ {name}: {olds[name]} → {news[name]}" for name in news if olds.get(name, news[name]) != news[name])


def _path(source: DataSource | None) -> str:
    return source.path if isinstance(source, FileSource) else "none"


def _stream(view: FeatureView) -> str:
    return f"{view.stream} v{view.version} by {view.event_time}"


def _entity(view: FeatureView) -> str:
    return f"{view.entity.name} ({', '.join(f'{key.name} {key.type}' for key in view.entity.keys)})"


def _span(view: FeatureView) -> str:
    return "for ever" if view.ttl is None else spelled(view.ttl)

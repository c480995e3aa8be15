"""Brings Feast's registry to what the contracts declare: says what differs, and leaves alone what is equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from feast import Entity, FeatureStore, FileSource
from feast import FeatureView as FeastView
from feast.data_source import DataSource

from clearwell.contract.feature_language import spelled
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.read import talking
from clearwell.errors import ConfigError
from clearwell.features.declared import Declared
from clearwell.features.definitions import WRITTEN, Definition, definitions_of, said
from clearwell.features.repository import PROJECT, write_file
from clearwell.features.store import applying, is_there, opened, told
from clearwell.features.tables import make_tables
from clearwell.features.written import read
from clearwell.settings import Settings


class Change(msgspec.Struct, frozen=True):
    """One object of the registry that is not as the contracts say; `details` says in which way, a line each."""

    action: Literal["add", "change", "remove"]
    kind: Literal["entity", "view"]
    name: str
    details: tuple[str, ...] = ()


class Applied(msgspec.Struct, frozen=True):
    """What was, or would be, changed. `file` is `feature_store.yaml`, which a dry run does not write."""

    project: str
    views: int
    changes: tuple[Change, ...]
    dry_run: bool
    file: str | None = None


def apply(
    settings: Settings, declared: Sequence[Declared], project: str = PROJECT, *, dry_run: bool = False
) -> Applied:
    """Make the project's registry say what the contracts declare, and the online tables fit; again: nothing changes.

    Objects that no contract put there stay as they are. Raises ConfigError when a definition can't be in Feast, a table
    can't become what its view is now, or a view that a feature service uses would go; Retryable when a server is not
    there.
    """
    wanted = definitions_of(declared, settings)
    if dry_run:
        if not is_there(settings):
            return Applied(project, len(wanted), _differences(None, project, wanted), dry_run)
        with opened(settings, project) as store:
            return Applied(project, len(wanted), _differences(store, project, wanted), dry_run)
    with applying(settings, project) as store:
        changes = _differences(store, project, wanted)
        if changes:
            _make_tables(settings, declared)
            with told():
                _apply(store, project, wanted, changes)
    return Applied(project, len(wanted), changes, dry_run, str(write_file(settings, project)))


def _make_tables(settings: Settings, declared: Sequence[Declared]) -> None:
    """First, since Feast changes its registry piece by piece: a table that can't fit its view leaves all as it was."""
    for one in declared:
        with talking(settings.postgres, one.view) as session:
            make_tables(session, one.view)


def _apply(store: FeatureStore, project: str, wanted: Sequence[Definition], changes: Sequence[Change]) -> None:
    gone = {(one.kind, one.name) for one in changes if one.action == "remove"}
    views = [one for one in _views(store, project).values() if ("view", one.name) in gone]
    _check_services(store, project, {one.name for one in views})
    entities = [one for one in _entities(store, project).values() if ("entity", one.name) in gone]
    sources = [source for view in views for source in (view.stream_source, view.batch_source) if source is not None]
    store.apply(_objects(wanted), objects_to_delete=[*views, *sources, *entities], partial=False)


def _check_services(store: FeatureStore, project: str, views: set[str]) -> None:
    for service in store.registry.list_feature_services(project):
        used = sorted(views & {one.name for one in service.feature_view_projections})
        if used:
            raise ConfigError(
                f'The feature service "{service.name}" uses the view "{used[0]}", which no contract declares any more: '
                f"remove the service from Feast first, or declare the view again."
            )


def _objects(wanted: Sequence[Definition]) -> list[Any]:
    """Everything that is to be in the registry; an entity that several views have, once."""
    entities = {entity.name: entity for one in wanted for entity in one.entities}
    return [*entities.values(), *(one.push for one in wanted), *(one.view for one in wanted)]


def _differences(store: FeatureStore | None, project: str, wanted: Sequence[Definition]) -> tuple[Change, ...]:
    with told():
        entities = _entities(store, project) if store else {}
        views = _views(store, project) if store else {}
    changes = (*_entity_changes(entities, wanted), *_view_changes(views, wanted))
    for one in changes:
        found = (entities if one.kind == "entity" else views).get(one.name)
        if found is not None and WRITTEN not in found.tags:
            raise ConfigError(
                f'The project "{project}" of Feast has a {one.kind} "{one.name}" of somebody else: remove it there, '
                "or apply to another project."
            )
    return changes


def _entities(store: FeatureStore, project: str) -> dict[str, Entity]:
    return {one.name: one for one in store.registry.list_entities(project)}


def _views(store: FeatureStore, project: str) -> dict[str, FeastView]:
    return {one.name: one for one in store.registry.list_feature_views(project)}


def _entity_changes(found: dict[str, Entity], wanted: Sequence[Definition]) -> Iterator[Change]:
    declared = {entity.name: entity for one in wanted for entity in one.entities}
    for name, entity in sorted(declared.items()):
        if name not in found:
            yield Change("add", "entity", name, (f"key {entity.join_key}",))
        elif entity != found[name]:
            yield Change("change", "entity", name)
    for name in sorted(found.keys() - declared.keys()):
        if WRITTEN in found[name].tags:
            yield Change("remove", "entity", name)


def _view_changes(found: dict[str, FeastView], wanted: Sequence[Definition]) -> Iterator[Change]:
    declared = {one.view.name: one for one in wanted}
    for name, one in sorted(declared.items()):
        view = one.declared.view
        if name not in found:
            keys = ", ".join(key.name for key in view.entity.keys)
            features = [f"+ {feature.name}: {feature.type}, {said(feature)}" for feature in view.features]
            yield Change("add", "view", name, (f"entity {view.entity.name} ({keys})", *features))
        else:
            details = tuple(_details(found[name], one))
            if details:
                yield Change("change", "view", name, details)
    for name in sorted(found.keys() - declared.keys()):
        if WRITTEN in found[name].tags:
            yield Change("remove", "view", name, ("its rows stay in the online store, for its deliverer to use",))


def _details(found: FeastView, wanted: Definition) -> Iterator[str]:
    after = read(wanted.view.tags[WRITTEN])
    try:
        before = read(found.tags.get(WRITTEN, ""))
    except ConfigError:
        yield "as this version of Clearwell writes it"
        return
    for label, old, new in (
        ("stream", _stream(before), _stream(after)),
        ("entity", _entity(before), _entity(after)),
        ("ttl", _span(before), _span(after)),
        ("lateness", spelled(before.lateness), spelled(after.lateness)),
        ("owner", found.owner, wanted.view.owner),
        ("history", _path(found.batch_source), wanted.history.path),
    ):
        if old != new:
            yield f"{label}: {old} → {new}"
    olds = {one.name: f"{one.type}, {said(one)}" for one in before.features}
    news = {one.name: f"{one.type}, {said(one)}" for one in after.features}
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

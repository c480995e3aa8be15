"""A declared feature view as Feast's objects: an entity a key, the view, where its history is, what is pushed to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, PushSource
from feast import types as feast_types
from feast.data_format import ParquetFormat

from clearwell.contract import features as ours
from clearwell.contract.feature_language import spelled
from clearwell.contract.model import Field as CleanField
from clearwell.contract.model import Type
from clearwell.errors import ConfigError
from clearwell.features.declared_views import DeclaredView
from clearwell.features.view_text import encode_view
from clearwell.settings import Settings

EVENT_TIMESTAMP = "event_timestamp"
"""The column of a history, and of what is pushed, that says since when the values of a row hold."""

VIEW_TAG = "clearwell"
"""The tag that holds a view as `encode_view` writes it: what has it is ours, all else is left alone."""

_SCALARS = {
    Type.STRING: feast_types.String,
    Type.INT32: feast_types.Int32,
    Type.INT64: feast_types.Int64,
    Type.FLOAT64: feast_types.Float64,
    Type.DECIMAL: feast_types.Decimal,
    Type.BOOL: feast_types.Bool,
    # Whole seconds: what is finer is cut off by Feast.
    Type.TIMESTAMP: feast_types.UnixTimestamp,
    # "YYYY-MM-DD": Feast has no type for a day, and would make an instant of it.
    Type.DATE: feast_types.String,
    Type.BYTES: feast_types.Bytes,
}


@dataclass(frozen=True, slots=True)
class FeastObjects:
    """What Feast is told of one view: `FeatureStore.push("<view>_push", …)` writes rows to it."""

    declared: DeclaredView
    entities: tuple[Entity, ...]
    history: FileSource
    push: PushSource
    view: FeatureView


def objects_of(declared: Iterable[DeclaredView], settings: Settings) -> list[FeastObjects]:
    """Feast's objects of all views. Raises ConfigError when two views mean different entities by one name."""
    made = [make_objects(declared_view, settings) for declared_view in declared]
    seen: dict[str, tuple[Entity, str]] = {}
    for declared_view in made:
        for entity in declared_view.entities:
            other, view = seen.setdefault(entity.name, (entity, declared_view.view.name))
            if (entity.join_key, entity.value_type) != (other.join_key, other.value_type):
                raise ConfigError(
                    f'The views "{view}" and "{declared_view.view.name}" mean different things by the entity '
                    f'"{entity.name}", and Feast has one of each name: give one of them another, as in '
                    f"`entity: {{name: {declared_view.view.name[:50]}_of, keys: [{entity.join_key}]}}`."
                )
    return made


def make_objects(declared: DeclaredView, settings: Settings) -> FeastObjects:
    """Feast's objects of one view. Raises ConfigError when its entity can't be looked up through Feast."""
    view, owner = declared.view, declared.contract.owner
    tags = {"stream": view.stream, "contract": f"{view.stream}/v{view.version}"}
    entities = tuple(_entity(view, key) for key in view.entity.keys)
    history = FileSource(
        name=f"{view.name}_history",
        path=history_path(settings, view.name),
        timestamp_field=EVENT_TIMESTAMP,
        file_format=ParquetFormat(),
        description=f"What the features of {view.name} were, and since when.",
        tags=tags,
        owner=owner,
    )
    push = PushSource(name=f"{view.name}_push", batch_source=history, tags=tags, owner=owner)
    made = FeatureView(
        name=view.name,
        entities=list(entities),
        # For ever: our online store honours the view's own, rows of nulls tell of it in a join (see training.py), and
        # Feast's file store would drop what was asked for from a join where all rows of the entity are older.
        ttl=timedelta(0),
        schema=[*(_key(key) for key in view.entity.keys), *(_field(feature) for feature in view.features)],
        source=push,
        description=f"Features of {view.entity.name} from {view.stream} v{view.version}.",
        tags=tags | {VIEW_TAG: encode_view(view)},
        owner=owner,
    )
    return FeastObjects(declared, entities, history, push, made)


def history_path(settings: Settings, view: str) -> str:
    """The folder, or fsspec URL, of a view's history as Parquet: CLEARWELL_OFFLINE/<view>/."""
    return f"{(settings.offline or str(settings.home / 'offline')).rstrip('/')}/{view}/"


def feast_type(type_: Type, items: Type | None = None) -> feast_types.FeastType:
    """Feast's type of our values; `items` is that of a list's."""
    if type_ is Type.LIST:
        return feast_types.Array(_SCALARS[items or Type.STRING])
    return _SCALARS[type_]


def _entity(view: ours.FeatureView, key: CleanField) -> Entity:
    """An entity of several keys is several of Feast's, each called as its key."""
    type_ = key.clean_type
    if type_ is Type.TIMESTAMP:
        raise ConfigError(
            f'The entity "{view.entity.name}" of the view "{view.name}" is told by a timestamp, and Feast cuts '
            "those to whole seconds: derive a string or a number from it."
        )
    name = view.entity.name if len(view.entity.keys) == 1 else key.name
    value_type = feast_type(type_).to_value_type()
    tags = {VIEW_TAG: "entity"}
    return Entity(name=name, join_keys=[key.name], value_type=value_type, description=key.description, tags=tags)


def _key(key: CleanField) -> Field:
    return Field(name=key.name, dtype=feast_type(key.clean_type), description=key.description)


def _field(feature: ours.Feature) -> Field:
    return Field(
        name=feature.name, dtype=feast_type(feature.type, feature.source.items), description=describe_feature(feature)
    )


def describe_feature(feature: ours.Feature) -> str:
    """What a feature is made of, in words."""
    unit = f" ({feature.source.unit})" if feature.source.unit else ""
    if feature.aggregate is None or feature.window is None:
        return f"latest {feature.source.name}{unit}"
    length, slide = spelled(feature.window.length), spelled(feature.window.slide)
    window = f"{length}, tumbling" if feature.window.tumbling else f"{length}, every {slide}"
    return f"{feature.aggregate} of {feature.source.name}{unit} over {window}"

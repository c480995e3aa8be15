"""A feature view as text: Feast's registry carries it, so that who has the registry needs no contract to serve it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from clearwell.contract.features import FeatureView
from clearwell.contract.model import Field
from clearwell.errors import ConfigError, Hint


def encode_view(view: FeatureView) -> str:
    """The view as JSON, without where in a file it was written; equal views have equal texts."""
    bare = replace(
        view,
        entity=replace(view.entity, keys=tuple(_bare(key) for key in view.entity.keys)),
        features=tuple(replace(feature, source=_bare(feature.source), location=None) for feature in view.features),
    )
    plain = {name: _pruned(builtin) for name, builtin in msgspec.to_builtins(bare).items()}
    return msgspec.json.encode(plain, order="sorted").decode()


def decode_view(text: str) -> FeatureView:
    """The view that `encode_view` made a text of. Raises ConfigError when it is none."""
    try:
        return msgspec.json.decode(text, type=FeatureView)
    except msgspec.DecodeError:
        raise ConfigError(
            "A feature view in Feast's registry was written by another version of Clearwell.",
            code="feast_is_behind",
            hint=Hint("features.apply"),
        ) from None


def _bare(field: Field) -> Field:
    """What a stored value depends on, and what people are told of it."""
    return Field(
        field.name,
        field.type,
        required=field.required,
        items=field.items,
        precision=field.precision,
        scale=field.scale,
        unit=field.unit,
        description=field.description,
        privacy=field.privacy,
    )


def _pruned(value: Any) -> Any:
    """Without what is None or empty, which the parts of a view have as defaults."""
    if isinstance(value, dict):
        return {name: _pruned(inner) for name, inner in value.items() if inner is not None and inner != ""}
    return [_pruned(inner) for inner in value] if isinstance(value, list | tuple) else value

"""What a store counts its rows by, where that is not the key of the event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clearwell.contract.feature_views import KIND, view_of
from clearwell.contract.model import CleanSchema, Route

Row = tuple[Any, ...]


def entity_of(route: Route, schema: CleanSchema) -> Callable[[Row], Row | None] | None:
    """Of a route to a feature view: from a row to its entity (None: it belongs to none). Of any other route: None."""
    if route.kind != KIND or route.name is None:
        return None
    names = [field.name for field in schema.fields]
    places = [names.index(key.name) for key in view_of(schema, route.name, route.options).entity.keys]

    def entity(row: Row) -> Row | None:
        values = tuple([row[index] for index in places])
        return None if None in values else values

    return entity

"""Makes the destination of a route. Which there are, and their options, is in the language: `contract.routes`."""

from __future__ import annotations

from clearwell.contract.model import CleanSchema, Route
from clearwell.destinations.mongo import MongoDestination
from clearwell.destinations.postgres import PostgresDestination
from clearwell.destinations.protocol import Destination
from clearwell.errors import ConfigError
from clearwell.settings import Settings


def open_destination(settings: Settings, route: Route, schema: CleanSchema, group: str) -> Destination:
    """The destination of `route`, not yet connected (`Destination.open` does that).

    `route` is one that `clearwell.steps.bind` has judged. Raises ConfigError when a name can't be one in that store.
    """
    if route.to == "postgres":
        return PostgresDestination(settings.postgres, schema, str(route.options.get("table", schema.stream)), group)
    if route.to == "mongo":
        return MongoDestination(settings.mongo, schema, str(route.options.get("collection", schema.stream)), group)
    raise ConfigError(f'There is no destination "{route.to}".')

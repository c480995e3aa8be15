"""Makes the destination of a route: its class by entry point, its configuration from the registry where it has one."""

from __future__ import annotations

from clearwell.contract.model import CleanSchema, Route
from clearwell.destinations.protocol import Destination, DestinationConfig, DestinationContext
from clearwell.errors import ConfigError, Hint
from clearwell.plugins.kinds import destination_class
from clearwell.plugins.spec import decode
from clearwell.registry import destinations
from clearwell.registry.database import Registry
from clearwell.secret_references import resolve
from clearwell.settings import Settings


def open_destination(settings: Settings, route: Route, schema: CleanSchema, group: str) -> Destination:
    """The destination of `route`, not yet connected (`Destination.open` does that).

    `route` is one that `clearwell.steps.bind` has judged. Raises ConfigError when the kind or the registered store is
    unknown, a reference leads nowhere, or a name can't be one in that store; Retryable when the registry is not there.
    """
    made = destination_class(route.kind)
    config = _config(settings, route, made)
    options = decode(dict(route.options), made.Options, f"the route to {route.to}")
    return made.of(DestinationContext(settings, route.name, config, options, schema, group))


def _config(settings: Settings, route: Route, made: type[Destination]) -> DestinationConfig:
    if not made.registered or route.name is None:
        return _own(route, made)
    registry = Registry(settings.postgres)
    try:
        with registry.session() as session:
            stored = destinations.get(session, route.kind, route.name)
    finally:
        registry.close()
    resolved, values = resolve(stored.config, who=f"The destination {route.to}")
    return decode(resolved, made.Config, f"the destination {route.to}", referred=bool(values))


def _own(route: Route, made: type[Destination]) -> DestinationConfig:
    """What a route without a name means: the platform's own store of that kind."""
    try:
        return made.Config()
    except TypeError:  # msgspec: a required field is missing
        raise ConfigError(
            f"The platform has no {route.kind} of its own: register one, and write `to: {route.kind}.<name>`.",
            code="no_such_destination",
            hint=Hint("destinations.register"),
        ) from None

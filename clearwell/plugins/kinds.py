"""The kinds of source and of destination there are, found by entry points: the library names none itself."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from clearwell.contract.route_options import DESTINATIONS
from clearwell.destinations.protocol import Destination
from clearwell.errors import ConfigError, nearest
from clearwell.source import Source

SOURCES = "clearwell.sources"


def source_class(kind: str) -> type[Source]:
    """The source called `kind`. Raises ConfigError with the nearest name when none is, or when it cannot be loaded."""
    loaded: type[Source] = _loaded(
        SOURCES,
        "source",
        kind,
        "Clearwell's own sources need its checkout or image, others the package they come from.",
    )
    return loaded


def destination_class(kind: str) -> type[Destination]:
    """The destination called `kind`. Raises ConfigError with the nearest name, or when it cannot be loaded."""
    loaded: type[Destination] = _loaded(
        DESTINATIONS, "destination", kind, f"install Clearwell's extra for it: pip install 'clearwell[{kind}]'."
    )
    return loaded


def is_pushed(kind: str) -> bool:
    """Whether sources of this kind are sent their events; not so when it is unknown, which others tell."""
    try:
        return callable(getattr(source_class(kind), "receive", None))
    except ConfigError:
        return False


def kinds(group: str = SOURCES) -> list[str]:
    """The names of all kinds of a group, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def _loaded(group: str, what: str, kind: str, mend: str) -> Any:
    points = entry_points(group=group, name=kind)
    if not points:
        known = kinds(group)
        hint = nearest(kind, known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(f'There is no kind of {what} "{kind}".{hint}')
    entry = next(iter(points))
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f'The {what} "{kind}" ({entry.value}) cannot be loaded ({type(error).__name__}): {mend}'
        ) from None

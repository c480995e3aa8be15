"""The kinds of source there are, found by the entry-point group `clearwell.sources`: the library names none itself."""

from __future__ import annotations

from importlib.metadata import entry_points

from clearwell.errors import ConfigError, nearest
from clearwell.source import Source

GROUP = "clearwell.sources"


def source_class(kind: str) -> type[Source]:
    """The source called `kind`. Raises ConfigError with the nearest name when none is, or when it cannot be loaded."""
    found = entry_points(group=GROUP, name=kind)
    if not found:
        known = kinds()
        hint = nearest(kind, known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(f'There is no kind of source "{kind}".{hint}')
    entry = next(iter(found))
    try:
        loaded: type[Source] = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f'The source "{kind}" ({entry.value}) cannot be loaded ({type(error).__name__}): '
            "Clearwell's own sources need its checkout or image, others the package they come from."
        ) from None
    return loaded


def is_pushed(kind: str) -> bool:
    """Whether sources of this kind are sent their events; not so when it is unknown, which others tell."""
    try:
        return callable(getattr(source_class(kind), "receive", None))
    except ConfigError:
        return False


def kinds() -> list[str]:
    """The names of all kinds, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})

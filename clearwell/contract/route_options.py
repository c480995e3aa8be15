"""What a route says to a kind of destination, as the kind declares it.

A package that brings a kind lists its class of options in the entry-point group `clearwell.routes`, in a module that
imports no driver: a contract is judged also where the destination can't run. Else they are those of the destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, ClassVar

import msgspec

from clearwell.contract.language import TOPIC, WORD
from clearwell.contract.model import ARCHIVE

ROUTES = "clearwell.routes"
DESTINATIONS = "clearwell.destinations"

SHAPE = "shape"
Word = Annotated[str, msgspec.Meta(extra={SHAPE: WORD})]
Topic = Annotated[str, msgspec.Meta(extra={SHAPE: TOPIC})]
"""Types of options that the contract's language has a shape, and so better words, for."""


class RouteOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what a contract's route says beside `to` and `when`: names inside the store, such as its table."""

    needs_name: ClassVar[bool] = False
    """Whether `to` must name a registered store after the kind; else `to: kind` is the platform's own."""

    container: ClassVar[str | None] = None
    """The option that says where in the store the stream is; without it that is named after the stream."""

    keeps_types: ClassVar[bool] = True
    """Whether the store has typed columns; else a changed type is between the sender and who reads."""

    widens: ClassVar[bool] = False
    """Whether the destination widens a column where every value of the old type is one of the new."""


class ArchiveOptions(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing: raw events are sealed whole, by a service of their own, in a table named after the stream."""

    keeps_types: ClassVar[bool] = False


@cache
def _declared() -> Mapping[str, EntryPoint]:
    """Where the options of each kind are, found in one look at what is installed, which takes milliseconds."""
    installed = entry_points()
    return {entry.name: entry for group in (DESTINATIONS, ROUTES) for entry in installed.select(group=group)}


def destination_kinds() -> list[str]:
    """The kinds that a route can lead to, sorted."""
    return sorted([ARCHIVE, *_declared()])


@cache
def options_class(kind: str) -> type[RouteOptions] | None:
    """What routes to `kind` may say; None where there is no such kind, or what brings it can't be imported."""
    if kind == ARCHIVE:
        return ArchiveOptions
    try:
        loaded = _declared()[kind].load()
    except (KeyError, ImportError, AttributeError):
        return None  # a kind that can't be imported is told of by whoever opens it
    options: type[RouteOptions] = getattr(loaded, "Options", loaded)
    return options

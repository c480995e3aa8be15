"""The kinds of source and of destination that are installed, and what each can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from clearwell.contract.route_options import DESTINATIONS
from clearwell.errors import ConfigError
from clearwell.plugins import options
from clearwell.plugins.kinds import destination_class, kinds, source_class
from clearwell.plugins.options import Option


class KindSummary(msgspec.Struct, frozen=True):
    """A kind, and a line about it: why it can't be loaded, where that is so."""

    kind: str
    summary: str


class KindDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind can be told: by its configuration and, for a destination, by a contract's route.

    pushed: a source that is sent its events. registered: False for a destination that a route alone describes.
    """

    kind: str
    summary: str
    text: str = ""
    pushed: bool = False
    registered: bool = True
    options: Sequence[Option] = ()
    route_options: Sequence[Option] = ()


def list_source_kinds() -> list[KindSummary]:
    """All kinds of source by name."""
    return _summaries(kinds(), lambda name: options.summary_of(source_class(name)))


def list_destination_kinds() -> list[KindSummary]:
    """All kinds of destination by name."""
    return _summaries(kinds(DESTINATIONS), lambda name: options.describe_destination(name).summary)


def show_source_kind(name: str) -> KindDetails:
    """One kind of source. Raises ConfigError with the nearest name when there is none, or it can't be loaded."""
    kind = options.describe_source(name)
    return KindDetails(kind=name, summary=kind.summary, text=kind.text, pushed=kind.push, options=kind.options)


def show_destination_kind(name: str) -> KindDetails:
    """One kind of destination. Raises as `show_source_kind`."""
    kind, registered = options.describe_destination(name), destination_class(name).registered
    return KindDetails(
        kind=name,
        summary=kind.summary,
        text=kind.text if registered else "",
        registered=registered,
        options=kind.options if registered else (),
        route_options=options.route_options(name),
    )


def source_schema(name: str) -> Mapping[str, Any]:
    """JSON Schemas of a source's configuration and position. Raises as `show_source_kind`."""
    return options.source_schema(name)


def destination_schema(name: str) -> Mapping[str, Any]:
    """JSON Schemas of a destination's configuration and of a route to it. Raises as `show_source_kind`."""
    return options.destination_schema(name)


def _summaries(names: Iterable[str], summary_of: Callable[[str], str]) -> list[KindSummary]:
    """One kind that can't be loaded does not hide the others."""
    summaries = []
    for name in names:
        try:
            summaries.append(KindSummary(name, summary_of(name)))
        except ConfigError as error:
            summaries.append(KindSummary(name, str(error)))
    return summaries

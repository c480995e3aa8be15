"""`clearwell features history`: what the values of entities were over time, computed from their events."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import RenderableType

from clearwell import settings
from clearwell.cli.features.shown import cell
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.contract.features import FeatureView
from clearwell.control.times import parse_range
from clearwell.destinations.features.tiles import Entity
from clearwell.features.declared import find_view
from clearwell.features.history import history, read_timelines
from clearwell.features.keys import parse_entity
from clearwell.features.timeline import Moment

Histories = Mapping[Entity, Sequence[Moment]]


@click.command("history")
@click.argument("view")
@click.option("--entity", "keys", multiple=True, metavar="KEY", help="Only this entity; may be given again.")
@click.option(
    "--from", "start", help="From this time on, or from so long ago: 2013-01-01, 2h; default: the first event."
)
@click.option("--to", "end", help="Up to this time; default: now.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=1_000, help="At most this many lines; default: 1000."
)
@home_option
@json_option
def history_command(
    view: str, keys: tuple[str, ...], start: str | None, end: str | None, limit: int, as_json: bool
) -> None:
    """Show what the features of entities were over time: a line whenever a value changed.

    Computed from all events of the view by the function that serves it, so a line is what would have been served then,
    had every event been there at its event time. KEY is written as for `clearwell features get`.

    \b
      clearwell features history carrier_delays --entity UA --from 2013-03-01T00:00:00Z --to 2013-03-02T00:00:00Z
    """
    one = find_view(settings.schemas_folder(), view).view
    entities = [parse_entity(one, key) for key in keys] or None
    first, last = parse_range(start, end, ("--from", "--to"))
    timelines = read_timelines(settings.load(), one, last, entities)
    known = sorted(entities or timelines)
    found: dict[Entity, list[Moment]] = {}
    left = limit
    for entity in known:
        moments = history(timelines[entity], first, last) if entity in timelines and left else ()
        found[entity] = list(itertools.islice(moments, left))
        left -= len(found[entity])
    shown = {"view": view, "entities": [_object(one, entity, some) for entity, some in found.items()], "cut": not left}
    emit(as_json, shown, lambda: _sheet(one, found, limit if not left else None))


def _object(view: FeatureView, entity: Entity, moments: Sequence[Moment]) -> dict[str, Any]:
    return {
        "entity": {key.name: value for key, value in zip(view.entity.keys, entity, strict=True)},
        "moments": [
            {"time": one.time, "event_time": one.event_time, "expired": one.expired, "values": one.values}
            for one in moments
        ],
    }


def _sheet(view: FeatureView, found: Histories, limit: int | None) -> RenderableType:
    rows = [
        [*map(str, entity), one.time.isoformat(), *(cell(value) for value in one.values.values())]
        for entity, moments in found.items()
        for one in moments
    ]
    if not rows:
        return f'The view "{view.name}" has no event of what was asked for.'
    heads = [*(key.name for key in view.entity.keys), "since", *(one.name for one in view.features)]
    made = table(heads, rows)
    if limit is not None:
        made.caption = f"The first {limit:,} lines; --limit, --entity, --from and --to choose others."
    return made

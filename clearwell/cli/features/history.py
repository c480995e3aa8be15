"""`clearwell feature history`: what the values of entities were over time, computed from their events."""

from __future__ import annotations

import click
from rich.console import RenderableType

from clearwell.cli.features.cells import render_value
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.control.features import ViewHistory, show_history
from clearwell.control.times import parse_range


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
@common_options
def history_command(
    view: str, keys: tuple[str, ...], start: str | None, end: str | None, limit: int, as_json: bool
) -> None:
    """Show what the features of entities were over time: a line whenever a value changed.

    Computed from all events of the view by the function that serves it, so a line is what would have been served then,
    had every event been there at its event time. KEY is written as for `clearwell feature get`.

    \b
      clearwell feature history carrier_delays --entity UA --from 2013-03-01T00:00:00Z --to 2013-03-02T00:00:00Z
    """
    first, last = parse_range(start, end, ("--from", "--to"))
    with open_platform() as platform:
        history = show_history(platform, view, keys, first, last, limit)
    emit(as_json, history, lambda: _render(history, limit))


def _render(history: ViewHistory, limit: int) -> RenderableType:
    rows = [
        [*map(str, entity.entity.values()), moment.time.isoformat(), *map(render_value, moment.values.values())]
        for entity in history.entities
        for moment in entity.moments
    ]
    if not rows:
        return f'The view "{history.view}" has no event of what was asked for.'
    first = next(entity for entity in history.entities if entity.moments)
    rendered = table([*first.entity, "since", *first.moments[0].values], rows)
    if history.cut:
        rendered.caption = f"The first {limit:,} lines; --limit, --entity, --from and --to choose others."
    return rendered

"""`clearwell feature get`: what is served now, or was at an instant. Without Feast."""

from __future__ import annotations

import click
from rich.table import Table

from clearwell.cli.features.cells import render_value
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.control.features import EntityValues, ViewValues, get_values
from clearwell.control.times import parse_time


@click.command()
@click.argument("view")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--feature", "names", multiple=True, help="Only this feature; may be given again.")
@click.option("--at", help="Of this time, or so long ago: 2013-01-01T10:00:00Z, 2h; default: now.")
@common_options
def get(view: str, keys: tuple[str, ...], names: tuple[str, ...], at: str | None, as_json: bool) -> None:
    """Read the features of entities from the online store.

    KEY is the value of the entity's key, or the values of several in order, with commas between.

    \b
      clearwell feature get carrier_delays UA DL
      clearwell feature get carrier_delays UA --feature flights_1d --at 2013-12-31T12:00:00Z
      clearwell feature get legs JFK,LAX

    Of an instant before an entity's newest event, the features without a window are not known: the store keeps the
    newest alone; nor are windows that begin before what is kept of tiles (`clearwell feature compact`). Use
    `clearwell feature history` for those.
    """
    time = None if at is None else parse_time(at, "--at")
    with open_platform() as platform:
        values = get_values(platform, view, keys, names, time)
    emit(as_json, values, lambda: _render(values))


def _render(values: ViewValues) -> Table:
    """A line an entity, so that they can be compared; nulls are empty."""
    first = values.rows[0]
    heads = [*first.entity, "newest event", *first.values]
    rendered = table(
        heads,
        [[*map(str, row.entity.values()), _state(row), *map(render_value, row.values.values())] for row in values.rows],
    )
    pruned = [name for name in first.values if any(name in row.pruned for row in values.rows)]
    if pruned:
        rendered.caption = f"Too long ago for what is kept of {', '.join(pruned)}: see `clearwell feature history`."
    return rendered


def _state(row: EntityValues) -> str:
    if row.event_time is None:
        return "unknown"
    return row.event_time.isoformat(timespec="seconds") + (" (past its ttl)" if row.expired else "")

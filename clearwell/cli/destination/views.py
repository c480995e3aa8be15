"""`clearwell destination list | show`: which destinations there are, and how each delivery is doing."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Group, RenderableType

from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.cli.results import render_facts, to_json
from clearwell.control.destinations import list_destinations, show_destination

HEADS = ("stream", "version", "destination", "state", "behind", "last_error", "next_try_at")


@click.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show the destinations, and how each delivery is doing.

    The destinations that were registered; and of each route: state, clean events it is behind (as Kafka knows it), last
    error, next try. Deliveries of older versions, and of routes that are gone, are shown too: what they stored is
    there. A delivery that is "failing" needs a person: its last error says what to do.

    \b
      clearwell destination list
      clearwell destination list --json
    """
    with open_platform() as platform:
        overview = to_json(list_destinations(platform))
    emit(as_json, overview, lambda: _render_list(overview["destinations"], overview["deliveries"]))


@click.command()
@click.argument("destination", metavar="DESTINATION")
@click.option("--stream", help="Of this stream alone; default: all that have a route to it.")
@common_options
def show(destination: str, stream: str | None, as_json: bool) -> None:
    """Show all that is known of one destination.

    What each delivery to it has passed, asked of the destination itself; and its options (references, never secrets).

    \b
      clearwell destination show postgres.warehouse
    """
    with open_platform() as platform:
        details = to_json(show_destination(platform, destination, stream))
    parts = (details["registered"], *details["deliveries"])
    emit(as_json, details, lambda: "\n\n".join(render_facts(part) for part in parts if part))


def _render_list(destinations: list[dict[str, Any]], deliveries: list[dict[str, Any]]) -> RenderableType:
    parts: list[RenderableType] = []
    if destinations:
        rows = [
            (row["destination"], ", ".join(f"{key}: {value}" for key, value in row["config"].items()))
            for row in destinations
        ]
        parts += [table(("destination", "options"), rows), ""]
    cells = [["" if row[head] is None else row[head] for head in HEADS] for row in deliveries]
    return Group(*parts, table(HEADS, cells) if deliveries else "No contract has a route.")

"""`clearwell connector list | show | audit`: how connectors are doing, and who changed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Group

from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.cli.results import format_value, render_facts, to_json
from clearwell.control.connectors import list_changes, list_connectors, show_connector

SPEED = ("rate", "lag_events", "lag_seconds")
ACCOUNT = ("read", "accepted", "refused", "at_source", "passed_over")


@click.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show how all connectors are doing.

    State, the account of its source (items read; of these accepted into Kafka, and refused as dead letters; how many
    the source holds, where it can tell; files and folders that it passes over), events a second over the last minute,
    how many items and seconds it is behind (where the source can tell), the collector that reads it, last error, next
    try. Where the account does not add up, it says so below.
    """
    with open_platform() as platform:
        rows = [to_json(status) for status in list_connectors(platform)]
    heads = ("name", "source", "stream", "state", *ACCOUNT, *SPEED, "read_by", "last_error", "next_try_at")
    cells = [["" if row[head] is None else row[head] for head in heads] for row in rows]
    nothing = "No connector is registered: run `clearwell connector register FILE`."
    differences = [f"{row['name']}: {row['difference']}" for row in rows if row["difference"] is not None]
    emit(as_json, {"connectors": rows}, lambda: Group(table(heads, cells), *differences) if rows else nothing)


@click.command()
@click.argument("name")
@common_options
def show(name: str, as_json: bool) -> None:
    """Show all that is known of one connector.

    State, who reads it, limits, configuration (references, never secrets) and position.
    """
    with open_platform() as platform:
        row = to_json(show_connector(platform, name))
    emit(as_json, row, lambda: render_facts(row))


@click.command("audit")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="At most this many; default: 50.")
@common_options
def audit_command(name: str | None, limit: int, as_json: bool) -> None:
    """Show who changed connectors, and when.

    Newest first; of all, or of the one called NAME, also after it was removed.

    \b
      clearwell connector audit flights
    """
    with open_platform() as platform:
        entries = [to_json(change) for change in list_changes(platform, name, limit)]
    heads = ("at", "who", "face", "action", "connector", "detail")
    rows = [[*(entry[head] for head in heads[:-1]), _detail(entry["detail"])] for entry in entries]
    nothing = "Nothing was changed." if name is None else f'Nothing was changed on a connector "{name}".'
    emit(as_json, {"entries": entries}, lambda: table(heads, rows) if rows else nothing)


def _detail(detail: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for key, value in detail.items():
        if isinstance(value, list):
            parts += map(str, value)
        elif value not in ({}, None):
            parts.append(f"{key} {format_value(value)}")
    return "; ".join(parts)

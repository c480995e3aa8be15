"""`clearwell connector positions`: look at a connector's position, and move it while the connector is paused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from clearwell.cli.group import Group
from clearwell.cli.output import change_options, common_options, emit
from clearwell.cli.platform import open_platform, plan_and_apply
from clearwell.cli.results import format_position, format_time
from clearwell.control.connector_changes import PositionChange, apply, plan_position
from clearwell.control.connectors import show_position
from clearwell.errors import ConfigError


@click.group(cls=Group)
def positions() -> None:
    """Look at a connector's position, or move it."""


@positions.command("get")
@click.argument("name")
@common_options
def get(name: str, as_json: bool) -> None:
    """Show the position of the connector NAME: reading goes on after it.

    \b
      clearwell connector positions get flights
    """
    with open_platform() as platform:
        saved = show_position(platform, name)
    shown = {
        "name": name,
        "position": saved.position,
        "version": saved.version,
        "events": saved.events,
        "saved_at": format_time(saved.saved_at),
    }
    version = f"version {saved.version}, saved {shown['saved_at']}, after {saved.events:,} events"
    emit(as_json, shown, lambda: f"{format_position(saved.position)}\n{version}")


@positions.command("set")
@click.argument("name")
@click.argument("position", metavar="[JSON]", required=False)
@click.option("--file", type=click.Path(path_type=Path), help="Read the position from this file.")
@click.option("--version", "seen", type=int, help="Refuse when the position is not at this version any more.")
@change_options
def set_command(
    name: str, position: str | None, file: Path | None, seen: int | None, dry_run: bool, as_json: bool
) -> None:
    """Move the connector NAME to a position; null is the beginning. Only while it is paused.

    The position is checked against the source. --dry-run says what would be read again or skipped.

    \b
      clearwell connector positions set flights '{"file": "flights.ndjson", "offset": 0}' --dry-run
      clearwell connector positions set flights --file kept.json --version 17
    """
    plan = plan_and_apply(
        lambda platform: plan_position(platform, name, _read(position, file), seen=seen), apply, dry_run
    )
    show_move(plan, dry_run, as_json)


def show_move(move: PositionChange, dry_run: bool, as_json: bool) -> None:
    """Say what a move did, or would do."""
    shown = {
        "name": move.name,
        "changed": move.changes,
        "dry_run": dry_run,
        "old": move.old,
        "new": move.new,
        "version": move.version + 1 if move.changes or move.disposes else move.version,
        "meaning": move.meaning,
        "upstream_dropped": move.disposes,
    }
    emit(as_json, shown, lambda: _render(move, dry_run))


def _render(move: PositionChange, dry_run: bool) -> str:
    if not move.changes and not move.disposes:
        return f'Connector "{move.name}" is at {format_position(move.old)} already.'
    lines = [
        f'Connector "{move.name}" {"would go" if dry_run else "went"}',
        f"  from  {format_position(move.old)}",
        f"  to    {format_position(move.new)}",
    ]
    lines += [f"  {move.meaning}"] if move.meaning else []
    if move.disposes:
        lines.append(f"  What the source's server keeps for it {'would be' if dry_run else 'was'} dropped.")
    if not dry_run:
        lines.append(f"`clearwell connector resume {move.name}` reads on from there.")
    return "\n".join(lines)


def _read(position: str | None, file: Path | None) -> dict[str, Any] | None:
    """The position on the command line or in a file. Raises ConfigError when it is neither an object nor null."""
    if (position is None) == (file is None):
        raise ConfigError("Give the position as JSON, or a file that holds it by --file.")
    try:
        text = position if file is None else file.read_text()
        position_read: dict[str, Any] | None = msgspec.json.decode(text or "", type=dict[str, Any] | None)
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        example = """'{"key": "value"}'"""
        raise ConfigError(f"The position must be one JSON object, such as {example}, or null.") from None
    return position_read

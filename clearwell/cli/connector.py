"""`clearwell connector`: register sources and see how they are doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clearwell import settings
from clearwell.cli.connector_discover import check, discover
from clearwell.cli.connector_open import open_registry, open_session, shown_time
from clearwell.cli.connector_spec import spec
from clearwell.cli.group import Group
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.registry import Connector, SavedPosition, State, connectors, positions
from clearwell.registry.register import Registration
from clearwell.registry.register import register as register_connector
from clearwell.registry.spec import load_spec


@click.group(cls=Group)
def connector() -> None:
    """Register sources and see how they are doing."""


for command in (spec, check, discover):
    connector.add_command(command)


@connector.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check everything and say what would change; store nothing.")
@home_option
@json_option
def register(file: Path, dry_run: bool, as_json: bool) -> None:
    """Register the connector that the YAML FILE describes; a collector starts it within a second.

    The specification, the contract and the connection are checked first. Doing it again changes nothing; with a
    changed configuration the connector goes on from where it was.

    \b
      clearwell connector register deploy/connectors/flights.yaml
      clearwell connector register flights.yaml --dry-run
    """
    where = settings.load()
    wanted = load_spec(file)
    with open_registry() as registry:
        done = register_connector(registry, wanted, where.schemas, dry_run=dry_run)
    shown = {
        "name": done.name,
        "outcome": done.outcome,
        "dry_run": dry_run,
        "differences": done.differences,
        "streams": [{"name": one.name, "fields": dict(one.fields)} for one in done.streams],
    }
    emit(as_json, shown, lambda: _registered(done, dry_run))


@connector.command("list")
@home_option
@json_option
def list_command(as_json: bool) -> None:
    """Show all connectors: state, events brought into Kafka, last error, next try."""
    with open_session() as session:
        found = connectors.list_connectors(session)
        saved = positions.load_all(session)
    rows = [_row(one, saved[one.name]) for one in found]
    heads = ("name", "source", "stream", "state", "events", "last_error", "next_try_at")
    cells = [["" if row[head] is None else row[head] for head in heads] for row in rows]
    nothing = "No connector is registered: run `clearwell connector register FILE`."
    emit(as_json, {"connectors": rows}, lambda: table(heads, cells) if rows else nothing)


@connector.command()
@click.argument("name")
@home_option
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one connector: configuration (references, never secrets), position, state."""
    with open_session() as session:
        found = connectors.get(session, name)
        saved = positions.load(session, name)
    row = _row(found, saved) | {
        "config": dict(found.config),
        "position": saved.position,
        "position_version": saved.version,
        "position_saved_at": shown_time(saved.updated_at),
        "created_at": shown_time(found.created_at),
    }
    lines = ["" if value is None else f"{key:<18} {value}" for key, value in row.items()]
    emit(as_json, row, lambda: "\n".join(filter(None, lines)))


@connector.command()
@click.argument("name")
@home_option
@json_option
def pause(name: str, as_json: bool) -> None:
    """Stop reading; the position stays."""
    _set_state(name, State.PAUSED, "pause", as_json)


@connector.command()
@click.argument("name")
@home_option
@json_option
def resume(name: str, as_json: bool) -> None:
    """Read on from the position: after a pause, a failure that was mended, or when a finished source has more."""
    _set_state(name, State.RUNNING, "resume", as_json)


@connector.command()
@click.argument("name")
@home_option
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget a connector and its position; what it brought into Kafka stays."""
    with open_session() as session:
        connectors.remove(session, name)
    emit(as_json, {"name": name, "removed": True}, lambda: f'Connector "{name}" is removed.')


def _set_state(name: str, state: State, action: str, as_json: bool) -> None:
    with open_session() as session:
        connectors.set_state(session, name, state, action)
    emit(as_json, {"name": name, "state": state}, lambda: f'Connector "{name}" is {state}.')


def _row(one: Connector, saved: SavedPosition) -> dict[str, Any]:
    return {
        "name": one.name,
        "source": one.source,
        "stream": one.stream,
        "state": one.state,
        "events": saved.events,
        "last_error": one.last_error,
        "next_try_at": shown_time(one.next_try_at),
    }


def _registered(done: Registration, dry_run: bool) -> str:
    will = "would be " if dry_run else ""
    lines = [f'Connector "{done.name}" {will}{done.outcome}.', *(f"  {line}" for line in done.differences)]
    for stream in done.streams:
        fields = ", ".join(f"{name} {kind}" for name, kind in stream.fields.items())
        lines.append(f"  found {stream.name}: {fields}")
    if not dry_run and done.outcome != "unchanged":
        lines.append(f"`clearwell connector show {done.name}` shows how far it is.")
    return "\n".join(lines)

"""`clearwell connector list | show | audit`: how connectors are doing, and who changed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec
from rich.console import Group

from clearwell.cli.connector.open import open_session, shown_time
from clearwell.cli.connector.positions import written
from clearwell.cli.output import emit, home_option, json_option, table
from clearwell.registry import Connector, SavedPosition, audit, connectors, leases, positions
from clearwell.registry.leases import Holder

LONGEST_PLACE = 300
"""Signs of a position that are shown among other facts."""

ACCOUNT = ("read", "accepted", "refused", "at_source", "passed_over")


@click.command("list")
@home_option
@json_option
def list_command(as_json: bool) -> None:
    """Show how all connectors are doing.

    State, the account of its source (items read; of these accepted into Kafka, and refused as dead letters; how many
    the source holds, where it can tell; files and folders that it passes over), the collector that reads it, last
    error, next try. Where the account does not add up, it says so below.
    """
    with open_session() as session:
        found = connectors.list_connectors(session)
        saved = positions.load_all(session)
        held = leases.holders(session)
    rows = [_row(one, saved[one.name], held.get(one.name)) for one in found]
    heads = ("name", "source", "stream", "state", *ACCOUNT, "read_by", "last_error", "next_try_at")
    cells = [["" if row[head] is None else row[head] for head in heads] for row in rows]
    nothing = "No connector is registered: run `clearwell connector register FILE`."
    differences = [f"{row['name']}: {row['difference']}" for row in rows if row["difference"] is not None]
    emit(as_json, {"connectors": rows}, lambda: Group(table(heads, cells), *differences) if rows else nothing)


@click.command()
@click.argument("name")
@home_option
@json_option
def show(name: str, as_json: bool) -> None:
    """Show all that is known of one connector.

    State, who reads it, limits, configuration (references, never secrets) and position.
    """
    with open_session() as session:
        found = connectors.get(session, name)
        saved = positions.load(session, name)
        holder = leases.holders(session, [name]).get(name)
    row = _row(found, saved, holder) | {
        "lease_until": None if holder is None else shown_time(holder.until),
        "limits": msgspec.to_builtins(found.limits),
        "config": dict(found.config),
        "position": saved.position,
        "position_version": saved.version,
        "position_saved_at": shown_time(saved.updated_at),
        "restarts": found.restarts,
        "created_at": shown_time(found.created_at),
        "updated_at": shown_time(found.updated_at),
    }
    emit(as_json, row, lambda: sheet(row))


@click.command("audit")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="At most this many; default: 50.")
@home_option
@json_option
def audit_command(name: str | None, limit: int, as_json: bool) -> None:
    """Show who changed connectors, and when.

    Newest first; of all, or of the one called NAME, also after it was removed.

    \b
      clearwell connector audit flights
    """
    with open_session() as session:
        found = audit.entries(session, connectors.target(name or ""), limit, prefix=name is None)
    shown: list[dict[str, Any]] = [
        {"at": shown_time(one.at), "who": one.who, "action": one.action, "connector": one.object.partition("/")[2]}
        | {"detail": dict(one.detail)}
        for one in found
    ]
    rows = [(one["at"], one["who"], one["action"], one["connector"], _detail(one["detail"])) for one in shown]
    nothing = "Nothing was changed." if name is None else f'Nothing was changed on a connector "{name}".'
    heads = ("at", "who", "action", "connector", "detail")
    emit(as_json, {"entries": shown}, lambda: table(heads, rows) if rows else nothing)


def _row(one: Connector, saved: SavedPosition, holder: Holder | None) -> dict[str, Any]:
    return {
        "name": one.name,
        "source": one.source,
        "stream": one.stream,
        "state": one.state,
        "events": saved.events,
        **account(saved),
        "read_by": None if holder is None else holder.collector,
        "last_error": one.last_error,
        "next_try_at": shown_time(one.next_try_at),
    }


def account(saved: SavedPosition) -> dict[str, Any]:
    """What a source counted beside what became of it; `read` is None where it does not count."""
    counts = saved.counts
    figures = (counts.read, counts.accepted, counts.refused, counts.held, counts.passed_over)
    return {**dict(zip(ACCOUNT, figures, strict=True)), "difference": saved.difference()}


def sheet(row: Mapping[str, Any]) -> str:
    """A line a fact; what does not apply is left out."""
    facts: list[tuple[str, str]] = []
    for key, value in row.items():
        if key == "position":
            place = written(value)  # whole by `positions get`
            facts.append((key, place if len(place) <= LONGEST_PLACE else place[:LONGEST_PLACE] + "…"))
        elif isinstance(value, dict):
            facts += [(f"{key}.{name}", _text(inner)) for name, inner in value.items()]
        elif value is not None:
            facts.append((key, f"{value:,}" if isinstance(value, int) else str(value)))
    width = max(len(key) for key, _ in facts)
    return "\n".join(f"{key:<{width}}  {value}" for key, value in facts)


def _detail(detail: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for key, value in detail.items():
        if isinstance(value, list):
            parts += map(str, value)
        elif value not in ({}, None):
            parts.append(f"{key} {_text(value)}")
    return "; ".join(parts)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()

"""`clearwell connector pause | resume | restart | reset | remove`: a connector's life."""

from __future__ import annotations

import click

from clearwell.cli.connector.open import open_registry, open_session
from clearwell.cli.connector.positions import moved
from clearwell.cli.output import dry_run_option, emit, home_option, json_option
from clearwell.registry import State, connectors, moves


@click.command()
@click.argument("name")
@dry_run_option
@home_option
@json_option
def pause(name: str, dry_run: bool, as_json: bool) -> None:
    """Stop reading; the position stays."""
    _set_state(name, State.PAUSED, "pause", dry_run, as_json)


@click.command()
@click.argument("name")
@dry_run_option
@home_option
@json_option
def resume(name: str, dry_run: bool, as_json: bool) -> None:
    """Read on from the position.

    After a pause, a failure that was mended, or when a finished source has more.
    """
    _set_state(name, State.RUNNING, "resume", dry_run, as_json)


@click.command()
@click.argument("name")
@dry_run_option
@home_option
@json_option
def restart(name: str, dry_run: bool, as_json: bool) -> None:
    """End the read that runs, and begin anew at once.

    It goes on from the position, however long the next try is away.
    """
    with open_session() as session:
        before = connectors.get(session, name).state
        connectors.restart(session, name, dry_run=dry_run)
    shown = {"name": name, "state": State.RUNNING, "before": before, "dry_run": dry_run}
    emit(as_json, shown, lambda: f'Connector "{name}" {"would start" if dry_run else "starts"} anew.')


@click.command()
@click.argument("name")
@dry_run_option
@home_option
@json_option
def reset(name: str, dry_run: bool, as_json: bool) -> None:
    """Go back to the beginning of the source.

    Only while paused. What is in Kafka already comes again. What the source's server keeps for the connector, such as a
    replication slot, is dropped.

    \b
      clearwell connector reset flights --dry-run
    """
    with open_registry() as registry:
        move = moves.reset(registry, name, dry_run=dry_run)
    moved(move, dry_run, as_json)


@click.command()
@click.argument("name")
@click.option("--keep-upstream", is_flag=True, help="Leave what the source's server keeps for it.")
@dry_run_option
@home_option
@json_option
def remove(name: str, keep_upstream: bool, dry_run: bool, as_json: bool) -> None:
    """Forget a connector and its position.

    What it brought into Kafka stays. What the source's server keeps for it, such as a replication slot, is dropped
    unless --keep-upstream is given.
    """
    with open_registry() as registry:
        removal = moves.remove(registry, name, keep_upstream=keep_upstream, dry_run=dry_run)
    shown = {
        "name": name,
        "removed": not dry_run,
        "dry_run": dry_run,
        "position": removal.position,
        "events": removal.events,
        "upstream_dropped": removal.disposes,
    }
    emit(as_json, shown, lambda: _removed(removal, dry_run))


def _removed(removal: moves.Removal, dry_run: bool) -> str:
    will, would = ("would be", "would be") if dry_run else ("is", "was")
    after = f"its position after {removal.events:,} events"
    told = f'Connector "{removal.name}" {will} removed, with {after}; what it brought into Kafka stays.'
    if removal.disposes:
        told += f"\nWhat the source's server keeps for it {would} dropped."
    return told


def _set_state(name: str, state: State, action: str, dry_run: bool, as_json: bool) -> None:
    with open_session() as session:
        before = connectors.get(session, name).state
        if not dry_run:
            connectors.set_state(session, name, state, action)
    shown = {"name": name, "state": state, "before": before, "dry_run": dry_run}
    would = f"would be {state}; it is {before}" if dry_run else f"is {state}"
    emit(as_json, shown, lambda: f'Connector "{name}" {would}.')

"""`clearwell connector pause | resume | restart | reset | remove`: change what a connector does."""

from __future__ import annotations

import click

from clearwell.cli.connector.positions import show_move
from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.control.connector_changes import (
    Removal,
    StateChange,
    apply,
    plan_pause,
    plan_removal,
    plan_reset,
    plan_restart,
    plan_resume,
)


@click.command()
@click.argument("name")
@change_options
def pause(name: str, dry_run: bool, as_json: bool) -> None:
    """Stop reading; the position stays."""
    plan = plan_and_apply(lambda platform: plan_pause(platform, name), apply, dry_run)
    _show_state(plan, dry_run, as_json)


@click.command()
@click.argument("name")
@change_options
def resume(name: str, dry_run: bool, as_json: bool) -> None:
    """Read on from the position.

    After a pause, a failure that was mended, or when a finished source has more.
    """
    plan = plan_and_apply(lambda platform: plan_resume(platform, name), apply, dry_run)
    _show_state(plan, dry_run, as_json)


@click.command()
@click.argument("name")
@change_options
def restart(name: str, dry_run: bool, as_json: bool) -> None:
    """End the read that runs, and begin anew at once.

    It goes on from the position, however long the next try is away.
    """
    plan = plan_and_apply(lambda platform: plan_restart(platform, name), apply, dry_run)
    shown = {"name": name, "state": plan.state, "before": plan.before, "dry_run": dry_run}
    emit(as_json, shown, lambda: f'Connector "{name}" {"would start" if dry_run else "starts"} anew.')


@click.command()
@click.argument("name")
@change_options
def reset(name: str, dry_run: bool, as_json: bool) -> None:
    """Go back to the beginning of the source.

    Only while paused. What is in Kafka already comes again. What the source's server keeps for the connector, such as a
    replication slot, is dropped.

    \b
      clearwell connector reset flights --dry-run
    """
    plan = plan_and_apply(lambda platform: plan_reset(platform, name), apply, dry_run)
    show_move(plan, dry_run, as_json)


@click.command()
@click.argument("name")
@click.option("--keep-upstream", is_flag=True, help="Leave what the source's server keeps for it.")
@change_options
def remove(name: str, keep_upstream: bool, dry_run: bool, as_json: bool) -> None:
    """Forget a connector and its position.

    What it brought into Kafka stays. What the source's server keeps for it, such as a replication slot, is dropped
    unless --keep-upstream is given.
    """
    removal = plan_and_apply(lambda platform: plan_removal(platform, name, keep_upstream=keep_upstream), apply, dry_run)
    shown = {
        "name": name,
        "removed": not dry_run,
        "dry_run": dry_run,
        "position": removal.position,
        "events": removal.events,
        "upstream_dropped": removal.disposes,
    }
    emit(as_json, shown, lambda: _removed(removal, dry_run))


def _removed(removal: Removal, dry_run: bool) -> str:
    will, would = ("would be", "would be") if dry_run else ("is", "was")
    after = f"its position after {removal.events:,} events"
    told = f'Connector "{removal.name}" {will} removed, with {after}; what it brought into Kafka stays.'
    if removal.disposes:
        told += f"\nWhat the source's server keeps for it {would} dropped."
    return told


def _show_state(plan: StateChange, dry_run: bool, as_json: bool) -> None:
    shown = {"name": plan.name, "state": plan.state, "before": plan.before, "dry_run": dry_run}
    would = f"would be {plan.state}; it is {plan.before}" if dry_run else f"is {plan.state}"
    emit(as_json, shown, lambda: f'Connector "{plan.name}" {would}.')

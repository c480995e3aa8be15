"""`clearwell destination pause | resume | remove`: change what a destination is sent."""

from __future__ import annotations

from collections.abc import Iterator

import click

from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.control.destination_changes import PauseChange, apply, plan_pause, plan_removal, plan_resume


@click.command()
@click.argument("destination", metavar="DESTINATION")
@click.option("--stream", help="Of this stream alone; default: all that have a route to it.")
@change_options
def pause(destination: str, stream: str | None, dry_run: bool, as_json: bool) -> None:
    """Stop delivering; each deliverer keeps its position.

    It is seen within two seconds, and at each start. Nothing is lost while Kafka keeps the clean topic.

    \b
      clearwell destination pause postgres.warehouse
      clearwell destination pause mongo --stream flights
    """
    plan = plan_and_apply(lambda platform: plan_pause(platform, destination, stream), apply, dry_run)
    _emit_pause(plan, dry_run, as_json)


@click.command()
@click.argument("destination", metavar="DESTINATION")
@click.option("--stream", help="Of this stream alone; default: all that have a route to it.")
@change_options
def resume(destination: str, stream: str | None, dry_run: bool, as_json: bool) -> None:
    """Deliver on from where it was paused.

    Or from where `clearwell destination replay` has set it back to.

    \b
      clearwell destination resume postgres.warehouse
      clearwell destination resume mongo --stream flights
    """
    plan = plan_and_apply(lambda platform: plan_resume(platform, destination, stream), apply, dry_run)
    _emit_pause(plan, dry_run, as_json)


@click.command()
@click.argument("destination", metavar="KIND.NAME")
@change_options
def remove(destination: str, dry_run: bool, as_json: bool) -> None:
    """Forget a destination that no route leads to.

    What it holds stays. Registered again, and routed to again, it goes on from the position that it was at.

    \b
      clearwell destination remove postgres.warehouse --dry-run
    """
    plan_and_apply(lambda platform: plan_removal(platform, destination), apply, dry_run)
    will = "would be" if dry_run else "is"
    shown = {"destination": destination, "removed": not dry_run, "dry_run": dry_run}
    emit(as_json, shown, lambda: f"{destination} {will} removed.")


def _emit_pause(plan: PauseChange, dry_run: bool, as_json: bool) -> None:
    rows = [
        {"stream": delivery.stream, "version": delivery.version, "paused": plan.paused, "before": before}
        for delivery, before in zip(plan.deliveries, plan.before, strict=True)
    ]
    shown = {"destination": plan.destination, "dry_run": dry_run, "deliveries": rows}
    emit(as_json, shown, lambda: "\n".join(_render_pause(plan, dry_run)))


def _render_pause(plan: PauseChange, dry_run: bool) -> Iterator[str]:
    state = "paused" if plan.paused else "running"
    for delivery, before in zip(plan.deliveries, plan.before, strict=True):
        what = f"{delivery.stream}.v{delivery.version} to {plan.destination}"
        if before == plan.paused:
            yield f"{what} is {state} already."
        else:
            yield f"{what} {'would be' if dry_run else 'is'} {state}."

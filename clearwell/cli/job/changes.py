"""`clearwell job pause | resume | restart | scale`: change what a job does."""

from __future__ import annotations

import click

from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import plan_and_apply
from clearwell.control.job_changes import (
    CopiesChange,
    JobChange,
    apply,
    plan_copies,
    plan_pause,
    plan_restart,
    plan_resume,
)


@click.command()
@click.argument("name")
@change_options
def pause(name: str, dry_run: bool, as_json: bool) -> None:
    """Stop a job, with all its copies; positions stay."""
    _show(plan_and_apply(lambda platform: plan_pause(platform, name), apply, dry_run), dry_run, as_json)


@click.command()
@click.argument("name")
@change_options
def resume(name: str, dry_run: bool, as_json: bool) -> None:
    """Have a paused job go on from its position, with all its copies."""
    _show(plan_and_apply(lambda platform: plan_resume(platform, name), apply, dry_run), dry_run, as_json)


@click.command()
@click.argument("name")
@change_options
def restart(name: str, dry_run: bool, as_json: bool) -> None:
    """End a job and begin it anew, at once.

    However long the next try is away. It goes on from its position; nothing is lost or repeated. One that was put into
    a process of its own, as it held up its neighbours, runs beside them again.

    \b
      clearwell job restart deliverer.flights.v1.postgres.main
    """
    plan = plan_and_apply(lambda platform: plan_restart(platform, name), apply, dry_run)
    verb = "would start" if dry_run else "starts"
    emit(as_json, _shown(plan, dry_run), lambda: f'Job "{plan.name}" {verb} anew.')


@click.command()
@click.argument("name")
@click.argument("copies", type=click.IntRange(1, 1_000))
@change_options
def scale(name: str, copies: int, dry_run: bool, as_json: bool) -> None:
    """Run a job in so many copies.

    Copies share the partitions of the topic that they read, so more copies than partitions idle. They run on different
    workers where there are any.

    \b
      clearwell job scale cleaner.flights.v1 4
    """
    plan = plan_and_apply(lambda platform: plan_copies(platform, name, copies), apply, dry_run)
    shown = {"name": plan.group, "copies": plan.copies, "before": plan.before, "dry_run": dry_run}
    emit(as_json, shown, lambda: _copies_sentence(plan, dry_run))


def _copies_sentence(plan: CopiesChange, dry_run: bool) -> str:
    if plan.before == plan.copies:
        return f'Job "{plan.group}" runs in {_copies(plan.copies)} already.'
    verb = "would run" if dry_run else "runs"
    return f'Job "{plan.group}" {verb} in {_copies(plan.copies)} instead of {plan.before}.'


def _copies(number: int) -> str:
    return "1 copy" if number == 1 else f"{number:,} copies"


def _show(plan: JobChange, dry_run: bool, as_json: bool) -> None:
    would = f"would be {plan.state}; it is {plan.before}" if dry_run else f"is {plan.state}"
    more = f", in all its {_copies(len(plan.names))}" if len(plan.names) > 1 else ""
    emit(as_json, _shown(plan, dry_run), lambda: f'Job "{plan.name}" {would}{more}.')


def _shown(plan: JobChange, dry_run: bool) -> dict[str, object]:
    return {"name": plan.name, "jobs": plan.names, "state": plan.state, "before": plan.before, "dry_run": dry_run}

"""`clearwell worker`: the processes that run jobs and connectors."""

from __future__ import annotations

import click

from clearwell.cli.group import Group
from clearwell.cli.output import change_options, common_options, emit
from clearwell.cli.platform import open_platform, plan_and_apply
from clearwell.cli.results import to_json
from clearwell.cli.worker.views import worker_table
from clearwell.control.workers import DrainChange, apply, list_workers, plan_drain, plan_undo


@click.group(cls=Group)
def worker() -> None:
    """Look at workers and collectors, and drain them.

    Workers run jobs, collectors run connectors. To restart them one by one without a gap, drain one, wait until it is
    drained, restart it, and go on with the next.

    \b
      clearwell worker list
      clearwell worker drain host-1:4711
    """


@worker.command("list")
@common_options
def list_command(as_json: bool) -> None:
    """Show all workers and collectors.

    The jobs or connectors that each has, the part of a core that they took in the last minute, memory, since when it
    runs, state, and where it serves metrics. One that is gone ended without a word, or is cut off; it is forgotten
    after an hour.
    """
    with open_platform() as platform:
        statuses = list_workers(platform)
    nothing = "No worker and no collector is running: run `clearwell up`."
    shown = {"workers": [to_json(status) for status in statuses]}
    emit(as_json, shown, lambda: worker_table(statuses) if statuses else nothing)


@worker.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Have it take its share again.")
@change_options
def drain(name: str, undo: bool, dry_run: bool, as_json: bool) -> None:
    """Have a worker or collector give away what it runs.

    Others take it over from its positions, and it takes nothing more until it ends, or --undo. Where there is no other,
    it goes on with what it has until there is one. `clearwell worker list` tells when it is drained.

    \b
      clearwell worker drain host-1:4711
      clearwell worker drain host-1:4711 --undo
    """
    plan_it = plan_undo if undo else plan_drain
    plan = plan_and_apply(lambda platform: plan_it(platform, name), apply, dry_run)
    shown = {
        "name": plan.name,
        "kind": plan.kind,
        "draining": plan.draining,
        "before": plan.before,
        "held": plan.held,
        "others": plan.others,
        "dry_run": dry_run,
    }
    emit(as_json, shown, lambda: _sentence(plan, dry_run))


def _sentence(plan: DrainChange, dry_run: bool) -> str:
    things = "jobs" if plan.kind == "worker" else "connectors"
    if not plan.draining:
        return f'"{plan.name}" {"would take" if dry_run else "takes"} its share of {things} again.'
    if not plan.others:
        keeps = "would keep" if dry_run else "keeps"
        return f'"{plan.name}" {keeps} its {plan.held:,} {things}: no other {plan.kind} is there to take them over.'
    return f'"{plan.name}" {"would give" if dry_run else "gives"} away its {plan.held:,} {things}.'

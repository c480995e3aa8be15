"""`clearwell feature apply`: Feast's registry as the contracts say."""

from __future__ import annotations

from collections.abc import Iterator

import click

from clearwell.cli.output import change_options, emit
from clearwell.cli.platform import actor, open_platform
from clearwell.control.feature_changes import PROJECT, RegistryPlan, apply_views, plan_apply

_SIGNS = {"add": "+", "change": "~", "remove": "-"}


@click.command()
@click.option("--project", default=PROJECT, show_default=True, help="Which of Feast's projects the views belong to.")
@change_options
def apply(project: str, dry_run: bool, as_json: bool) -> None:
    """Tell Feast of the feature views that contracts declare.

    Shows what is added, changed and removed; what is equal is left alone, so it may run again at any time, in a
    pipeline say. Makes the tables of new views, and feature_store.yaml for Feast's own tools. Rows are never removed.

    \b
      clearwell feature apply --dry-run
      clearwell feature apply

    The registry is in Clearwell's PostgreSQL, or where CLEARWELL_FEAST_REGISTRY says. Needs clearwell[feast].
    """
    with open_platform() as platform:
        plan = plan_apply(platform, project)
        file = None if dry_run else apply_views(platform, actor(), plan)
    shown = {"project": plan.project, "views": plan.views, "changes": plan.changes, "dry_run": dry_run, "file": file}
    emit(as_json, shown, lambda: "\n".join(_render(plan, file)))


def _render(plan: RegistryPlan, file: str | None) -> Iterator[str]:
    for change in plan.changes:
        yield f"{_SIGNS[change.action]} {change.kind} {change.name}"
        yield from (f"    {detail}" for detail in change.details)
    count = f"{len(plan.changes)} change{'s'[: len(plan.changes) != 1]}"
    if not plan.changes:
        yield f"Feast's project {plan.project} is as the contracts say ({plan.views} in all)."
    elif file is None:
        yield f"{count} to make: run it without --dry-run."
    else:
        yield f"{count} made in Feast's project {plan.project}."
    if file is not None:
        yield f"For Feast's own tools: {file}"

"""`clearwell feature refresh`: bring what Feast joins training sets from up to date."""

from __future__ import annotations

import click

from clearwell.cli.output import change_options, counted, emit, say, table
from clearwell.cli.platform import actor, open_platform
from clearwell.control.feature_changes import RefreshPlan, plan_refresh, refresh_view


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--full", is_flag=True, help="Make all rows anew, as after a view was emptied by hand.")
@change_options
def refresh(views: tuple[str, ...], full: bool, dry_run: bool, as_json: bool) -> None:
    """Bring what Feast joins training sets from up to date with the events; of all views by default.

    Writes, for each instant at which the values of an entity changed, what they were: Feast's `get_historical_features`
    then finds what would have been served at any instant. Run it before a training, or from cron. Reads what was
    delivered since the last time, and as far before that as windows reach; the result is the same as with --full.

    \b
      clearwell feature refresh carrier_delays
      clearwell feature refresh --dry-run
    """
    with open_platform() as platform:
        plans = plan_refresh(platform, views, full=full)
        if dry_run:
            emit(as_json, {"dry_run": True, "views": plans}, lambda: "\n".join(map(_render_plan, plans)))
            return
        results = []
        for plan in plans:
            say(f"computing {plan.view}", err=True)
            results.append(refresh_view(platform, actor(), plan))
    heads = ["view", "entities", "changed", "rows", "folder"]
    emit(
        as_json,
        {"views": results},
        lambda: table(heads, [[getattr(result, head) for head in heads] for result in results]),
    )


def _render_plan(plan: RefreshPlan) -> str:
    of = counted(plan.files, "file")
    files = f"all of {of}" if plan.whole else f"{plan.new:,} new of {of}"
    return f"{plan.view}: {files} of events would be read, and written to {plan.folder}."

"""`clearwell lake compact | vacuum`: what changes a table's files and none of its rows."""

from __future__ import annotations

import click

from clearwell.cli.lake.option import lake_option
from clearwell.cli.output import change_options, emit, say
from clearwell.cli.platform import actor, open_platform
from clearwell.control.lake_changes import apply, plan_compact, plan_vacuum
from clearwell.control.times import parse_duration


@click.command()
@click.argument("table_name", metavar="TABLE")
@lake_option
@change_options
def compact(table_name: str, lake: str | None, dry_run: bool, as_json: bool) -> None:
    """Join a table's small files, day by day; writers go on meanwhile.

    The joined files stay for readers of older versions until `lake vacuum` deletes them.
    """
    with open_platform() as platform:
        plan = plan_compact(platform, table_name, lake)
        if dry_run:
            shown = {"table": table_name, "dry_run": True, "files": plan.files, "small": plan.small}
            emit(as_json, shown, lambda: f"{plan.small:,} of {plan.files:,} files are small and would be joined.")
            return
        say(f"compacting {plan.small:,} small files …", err=True)
        done = apply(platform, actor(), plan)
    shown = {"table": table_name, "dry_run": False, "removed": done.removed, "added": done.added}
    emit(as_json, shown, lambda: f"{done.removed:,} files became {done.added:,}.")


@click.command()
@click.argument("table_name", metavar="TABLE")
@click.option("--older-than", default="7d", show_default=True, help="Such as 7d or 36h.")
@click.option("--full", is_flag=True, help="List the whole table, to find files of writers that died as well.")
@click.option("--force", is_flag=True, help="Allow less than 7 days, which takes files from under readers and writers.")
@lake_option
@change_options
def vacuum(
    table_name: str, older_than: str, full: bool, force: bool, lake: str | None, dry_run: bool, as_json: bool
) -> None:
    """Delete files that only versions older than --older-than need.

    Those versions can't be read any more then. Without --full it deletes what the log says was replaced.
    """
    older = parse_duration(older_than, "--older-than")
    with open_platform() as platform:
        say("looking for files …", err=True)
        plan = plan_vacuum(platform, table_name, lake, older=older, full=full, force=force)
        files = plan.files if dry_run else apply(platform, actor(), plan).removed
    shown = {"table": table_name, "dry_run": dry_run, "files": files}
    emit(as_json, shown, lambda: f"{files:,} files {'would be' if dry_run else 'were'} deleted.")

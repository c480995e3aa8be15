"""`clearwell lake compact | vacuum`: what changes a table's files and none of its rows."""

from __future__ import annotations

import click

from clearwell import settings
from clearwell.cli.lake.place import bare, lake_option, table_in
from clearwell.cli.output import dry_run_option, emit, home_option, json_option, say
from clearwell.control.times import parse_duration
from clearwell.destinations.lake import compaction as lake_compaction
from clearwell.destinations.lake import tables
from clearwell.plugins.lakes import lake_root


@click.command()
@click.argument("table_name", metavar="TABLE")
@lake_option
@dry_run_option
@home_option
@json_option
def compact(table_name: str, name: str | None, dry_run: bool, as_json: bool) -> None:
    """Join a table's small files, day by day; writers go on meanwhile.

    The joined files stay for readers of older versions until `lake vacuum` deletes them.
    """
    place = table_in(lake_root(settings.load(), bare(name)), table_name)
    before = tables.info_of(table_name, tables.opened(place))
    if dry_run:
        value = {"table": table_name, "dry_run": True, "files": before.files, "small": before.small}
        emit(as_json, value, lambda: f"{before.small:,} of {before.files:,} files are small and would be joined.")
        return
    say(f"compacting {before.small:,} small files …", err=True)
    done = lake_compaction.compact(place)
    value = {"table": table_name, "dry_run": False, "removed": done.removed, "added": done.added}
    emit(as_json, value, lambda: f"{done.removed:,} files became {done.added:,}.")


@click.command()
@click.argument("table_name", metavar="TABLE")
@click.option("--older-than", default=f"{tables.RETENTION.days}d", show_default=True, help="Such as 7d or 36h.")
@click.option("--full", is_flag=True, help="List the whole table, to find files of writers that died as well.")
@click.option("--force", is_flag=True, help="Allow less than 7 days, which takes files from under readers and writers.")
@lake_option
@dry_run_option
@home_option
@json_option
def vacuum(
    table_name: str, older_than: str, full: bool, force: bool, name: str | None, dry_run: bool, as_json: bool
) -> None:
    """Delete files that only versions older than --older-than need.

    Those versions can't be read any more then. Without --full it deletes what the log says was replaced.
    """
    place = table_in(lake_root(settings.load(), bare(name)), table_name)
    say("looking for files …", err=True)
    gone = tables.vacuum(place, parse_duration(older_than, "--older-than"), dry_run=dry_run, full=full, force=force)
    value = {"table": table_name, "dry_run": dry_run, "files": len(gone)}
    emit(as_json, value, lambda: f"{len(gone):,} files {'would be' if dry_run else 'were'} deleted.")

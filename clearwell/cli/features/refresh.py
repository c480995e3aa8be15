"""`clearwell features refresh`: bring what Feast joins training sets from up to date."""

from __future__ import annotations

import click

from clearwell import settings
from clearwell.cli.output import counted, dry_run_option, emit, home_option, json_option, say, table
from clearwell.errors import ConfigError
from clearwell.features.declared import declared_views, find_view
from clearwell.features.training import Pending, pending
from clearwell.features.training import refresh as refresh_view


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option("--full", is_flag=True, help="Make all rows anew, as after a view was emptied by hand.")
@dry_run_option
@home_option
@json_option
def refresh(views: tuple[str, ...], full: bool, dry_run: bool, as_json: bool) -> None:
    """Bring what Feast joins training sets from up to date with the events; of all views by default.

    Writes, for each instant at which the values of an entity changed, what they were: Feast's `get_historical_features`
    then finds what would have been served at any instant. Run it before a training, or from cron. Reads what was
    delivered since the last time, and as far before that as windows reach; the result is the same as with --full.

    \b
      clearwell features refresh carrier_delays
      clearwell features refresh --dry-run
    """
    schemas = settings.schemas_folder()
    wanted = [find_view(schemas, name).view for name in views] or [one.view for one in declared_views(schemas)]
    if not wanted:
        raise ConfigError("No contract has a feature view: see `clearwell features --help`.")
    where = settings.load()
    if dry_run:
        due = [pending(where, one, full=full) for one in wanted]
        emit(as_json, {"dry_run": True, "views": due}, lambda: "\n".join(map(_said, due)))
        return
    done = []
    for one in wanted:
        say(f"computing {one.name}", err=True)
        done.append(refresh_view(where, one, full=full))
    heads = ["view", "entities", "changed", "rows", "folder"]
    emit(as_json, {"views": done}, lambda: table(heads, [[getattr(one, head) for head in heads] for one in done]))


def _said(one: Pending) -> str:
    files = f"all of {counted(one.files, 'file')}" if one.whole else f"{one.new:,} new of {counted(one.files, 'file')}"
    return f"{one.view}: {files} of events would be read, and written to {one.folder}."

"""`clearwell features refresh`: bring what Feast joins training sets from up to date."""

from __future__ import annotations

import click

from clearwell import settings
from clearwell.cli.output import dry_run_option, emit, home_option, json_option, table
from clearwell.destinations.features_folder import Folder
from clearwell.errors import ConfigError
from clearwell.features.declared import declared_views, find_view
from clearwell.features.training import refresh as refresh_view


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@dry_run_option
@home_option
@json_option
def refresh(views: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Bring what Feast joins training sets from up to date with the events; of all views by default.

    Writes, for each instant at which the values of an entity changed, what they were: Feast's `get_historical_features`
    then finds what would have been served at any instant. Run it before a training, or from cron.

    \b
      clearwell features refresh carrier_delays
    """
    schemas = settings.schemas_folder()
    wanted = [find_view(schemas, name).view for name in views] or [one.view for one in declared_views(schemas)]
    if not wanted:
        raise ConfigError("No contract has a feature view: see `clearwell features --help`.")
    where = settings.load()
    if dry_run:
        places = [{"view": one.name, "folder": (Folder.root(where) / one.name).shown} for one in wanted]
        lines = "\n".join(f"{one['view']} would be written to {one['folder']}." for one in places)
        emit(as_json, {"dry_run": True, "views": places}, lambda: lines)
        return
    done = []
    for one in wanted:
        click.echo(f"computing {one.name}", err=True)
        done.append(refresh_view(where, one))
    heads = ["view", "entities", "rows", "folder"]
    emit(as_json, {"views": done}, lambda: table(heads, [[getattr(one, head) for head in heads] for one in done]))

"""`clearwell features compact`: fewer files of history, no tiles that nobody can ask for."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from clearwell import settings
from clearwell.cli.output import counted, dry_run_option, emit, home_option, json_option, say
from clearwell.destinations.features import upkeep as features_upkeep
from clearwell.destinations.features.folder import Folder
from clearwell.destinations.features.read import talking
from clearwell.destinations.features.upkeep import Compacted, CompactionPlan
from clearwell.errors import ConfigError
from clearwell.features.declared import declared_views, find_view


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@dry_run_option
@home_option
@json_option
def compact(views: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Join the small files of histories, and remove tiles that no window needs; of all views by default.

    Deliverers do it themselves, every CLEARWELL_FEATURES_COMPACT_EVERY of their commits (500; 0: never); they and all
    who read may go on meanwhile. No event of a history is lost. A tile goes when it is further behind the newest event
    than the longest window, the lateness and the ttl of the view together: windows of so long ago can't be read any
    more by `features get --at`, but by `features history`.

    \b
      clearwell features compact --dry-run
      clearwell features compact carrier_delays
    """
    schemas = settings.schemas_folder()
    wanted = [find_view(schemas, name).view for name in views] or [one.view for one in declared_views(schemas)]
    if not wanted:
        raise ConfigError("No contract has a feature view: see `clearwell features --help`.")
    where = settings.load()
    root = Folder.root(where)
    done: list[CompactionPlan | Compacted] = []
    for view in wanted:
        say(f"{'looking at' if dry_run else 'compacting'} {view.name} …", err=True)
        with talking(where.postgres, view) as session:
            now = datetime.now(UTC)
            done.append(
                features_upkeep.plan(session, view, now)
                if dry_run
                else features_upkeep.compact(session, root, view, now)
            )
    said = [_planned(one) if isinstance(one, CompactionPlan) else _done(one) for one in done]
    emit(as_json, {"dry_run": dry_run, "views": done}, lambda: "\n".join(said))


def _planned(one: CompactionPlan) -> str:
    files = (
        f"{one.small:,} of {counted(one.files, 'file')} would become {one.into:,}" if one.small else "nothing to join"
    )
    replaced = f", {one.replaced:,} that were joined before would be removed" if one.replaced else ""
    if one.floor is None:
        return f"{one.view}: {files}{replaced}."
    tiles = f"{one.needless:,} of {counted(one.tiles, 'tile')}, those before {_instant(one.floor)}, would be removed"
    return f"{one.view}: {files}{replaced}; {tiles}.{_beneath(one.beneath)}"


def _done(one: Compacted) -> str:
    files = f"{counted(one.removed, 'file')} became {one.added:,}" if one.removed else "nothing to join"
    replaced = f", {one.swept:,} that were joined before are gone" if one.swept else ""
    if one.floor is None:
        return f"{one.view}: {files}{replaced}."
    return f"{one.view}: {files}{replaced}; {counted(one.tiles, 'tile')} before {_instant(one.floor)} removed."


def _beneath(events: int) -> str:
    return f" {counted(events, 'event')} came when their tile was gone, and are in the history alone." if events else ""


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

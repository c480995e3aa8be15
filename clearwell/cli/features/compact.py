"""`clearwell feature compact`: fewer files of history, no tiles that nobody can ask for."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from clearwell.cli.output import change_options, counted, emit, say
from clearwell.cli.platform import actor, open_platform
from clearwell.control.feature_changes import CompactionPlan, ViewCompaction, compact_view, plan_compact


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@change_options
def compact(views: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Join the small files of histories, and remove tiles that no window needs; of all views by default.

    Deliverers do it themselves, every CLEARWELL_FEATURES_COMPACT_EVERY of their commits (500; 0: never); they and all
    who read may go on meanwhile. No event of a history is lost. A tile goes when it is further behind the newest event
    than the longest window, the lateness and the ttl of the view together: windows of so long ago can't be read any
    more by `feature get --at`, but by `feature history`.

    \b
      clearwell feature compact --dry-run
      clearwell feature compact carrier_delays
    """
    with open_platform() as platform:
        say("looking at files and tiles …", err=True)
        plans = plan_compact(platform, views)
        if dry_run:
            emit(as_json, {"dry_run": True, "views": plans}, lambda: "\n".join(map(_render_plan, plans)))
            return
        results = []
        for plan in plans:
            say(f"compacting {plan.view} …", err=True)
            results.append(compact_view(platform, actor(), plan))
    emit(as_json, {"dry_run": False, "views": results}, lambda: "\n".join(map(_render_result, results)))


def _render_plan(plan: CompactionPlan) -> str:
    of = counted(plan.files, "file")
    files = f"{plan.small:,} of {of} would become {plan.into:,}" if plan.small else "nothing to join"
    replaced = f", {plan.replaced:,} that were joined before would be removed" if plan.replaced else ""
    if plan.floor is None:
        return f"{plan.view}: {files}{replaced}."
    tiles = f"{plan.needless:,} of {counted(plan.tiles, 'tile')}, those before {_time(plan.floor)}, would be removed"
    return f"{plan.view}: {files}{replaced}; {tiles}.{_beneath(plan.beneath)}"


def _render_result(result: ViewCompaction) -> str:
    files = f"{counted(result.removed, 'file')} became {result.added:,}" if result.removed else "nothing to join"
    replaced = f", {result.swept:,} that were joined before are gone" if result.swept else ""
    if result.floor is None:
        return f"{result.view}: {files}{replaced}."
    return f"{result.view}: {files}{replaced}; {counted(result.tiles, 'tile')} before {_time(result.floor)} removed."


def _beneath(events: int) -> str:
    return f" {counted(events, 'event')} came when their tile was gone, and are in the history alone." if events else ""


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

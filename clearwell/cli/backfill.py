"""`clearwell backfill plan | run`: replay history into a training set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group as Lines
from rich.console import RenderableType

from clearwell.arrow_memory import keep_pandas_out, use_system_memory
from clearwell.backfill.plan import CHUNK
from clearwell.cli.group import Group
from clearwell.cli.output import common_options, emit, progress, table
from clearwell.cli.platform import actor, open_platform
from clearwell.control.platform import Platform

if TYPE_CHECKING:
    from clearwell.control.backfills import Backfilled, BackfillPlan


@click.group(cls=Group)
def backfill() -> None:
    """Replay a stream's history through its own pipeline into Parquet, for training.

    The rows are what the live stream gave, or would have given. A range of time goes by arrival, when Kafka took an
    event in, and not by the event's own time: history of 2013 that was loaded today arrived today. It holds its
    beginning and not its end.
    """
    use_system_memory()


def range_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What to read and where to write, the same for both commands."""
    for option in (
        click.option("--chunk", type=click.IntRange(100, 10_000_000), default=CHUNK, help="Offsets of one file."),
        click.option("--version", type=click.IntRange(1), help="Of the contract; the highest by default."),
        click.option("--into", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder."),
        click.option(
            "--to", "end", help="Offset, or date or time of arrival (UTC); by default the newest event as of now."
        ),
        click.option("--from", "start", help="Offset, or date or time of arrival (UTC); by default the oldest event."),
        click.argument("stream"),
    ):
        command = option(command)
    return command


@backfill.command("plan")
@range_options
@common_options
@click.pass_context
def plan_command(ctx: click.Context, /, as_json: bool, **requested: Any) -> None:
    """Show what `run` would read and write; exit code 1 where it would find nothing.

    \b
      clearwell backfill plan flights --into training/flights
      clearwell backfill plan flights --from 2026-11-01 --to 2026-11-02 --into training/flights
    """
    with open_platform() as platform:
        plan = _plan(platform, **requested)
    _show(ctx, plan, as_json)


@backfill.command("run")
@range_options
@click.option("--dry-run", is_flag=True, help="Only plan.")
@common_options
@click.pass_context
def run_command(ctx: click.Context, /, dry_run: bool, as_json: bool, **requested: Any) -> None:
    """Write the training set; a run that was broken off goes on where it was.

    The same range again is found finished and nothing is done, so it can stand in a crontab. Where no event arrived in
    the range nothing is written, and the exit code is 1.

    \b
      clearwell backfill run flights --into training/flights
      clearwell backfill run flights --from 2026-11-01 --to 2026-11-02 --into training/flights
    """
    with open_platform() as platform:
        plan = _plan(platform, **requested)
        if dry_run or not plan.replay.ranges:
            _show(ctx, plan, as_json)
            return
        done = _run(platform, plan)
    emit(as_json, done, lambda: _sentence(done))


def _plan(
    platform: Platform, stream: str, start: str | None, end: str | None, into: Path, version: int | None, chunk: int
) -> BackfillPlan:
    from clearwell.control.backfills import parse_bound, plan_backfill  # imports pyarrow

    keep_pandas_out()
    first = parse_bound(start, "--from") if start else None
    last = parse_bound(end, "--to") if end else None
    return plan_backfill(platform, stream, into, start=first, end=last, version=version, chunk=chunk)


def _run(platform: Platform, plan: BackfillPlan) -> Backfilled:
    from clearwell.control.backfills import apply

    task, total = f"backfilling {plan.replay.request.stream}", plan.replay.events
    with progress() as report:
        return apply(platform, actor(), plan, lambda count: report(task, count, total))


def _show(ctx: click.Context, plan: BackfillPlan, as_json: bool) -> None:
    """Exit code 1 where the range holds nothing: what was meant may be another clock's (invariant 11)."""
    emit(as_json, plan.to_json(), lambda: _overview(plan))
    if not plan.replay.ranges:
        ctx.exit(1)


def _overview(backfill_plan: BackfillPlan) -> RenderableType:
    plan = backfill_plan.replay
    if not plan.ranges:
        return f"{_nothing(backfill_plan)}{_gone(backfill_plan)}"
    files = [chunk.partition for chunk in plan.chunks()]
    rows = [
        (whole.partition, whole.first, whole.end - 1, len(whole), files.count(whole.partition)) for whole in plan.ranges
    ]
    overview = table(("partition", "first offset", "last offset", "events", "files"), rows)
    timed = any(bound is not None and bound.time is not None for bound in (plan.request.start, plan.request.end))
    clock = ", by the time of their arrival," if timed else ""
    return Lines(overview, f"{plan.events:,} events{clock} into {plan.run_folder}.{_gone(backfill_plan)}")


def _nothing(plan: BackfillPlan) -> str:
    topic = plan.replay.topic
    if plan.arrived is None:
        return f"{topic} holds no events."
    first, last = (f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in plan.arrived)
    return (
        f"No event of {topic} arrived in that range. A range goes by when Kafka took events in, not by the time "
        f"in them: those that are there arrived from {first} to {last}. Without --from and --to all are read."
    )


def _sentence(done: Backfilled) -> str:
    account = done.manifest
    begun = "Written" if done.ran else "This run is finished already; nothing was done"
    sentence = (
        f"{begun}: {account.kept:,} rows in {done.folder} ({account.dropped:,} dropped, {account.rejected:,} rejected)."
    )
    if account.gone:
        sentence += f" {account.gone:,} offsets of the range held no event: retention has removed them."
    return sentence


def _gone(plan: BackfillPlan) -> str:
    if not plan.replay.gone:
        return ""
    count, start = sum(plan.replay.gone.values()), plan.replay.request.start
    if start is not None and start.time is not None:
        return f" Up to {count:,} older events of that time are gone: retention has removed them."
    return f" {count:,} older events are gone: retention has removed them."

"""`clearwell backfill plan | run`: the commands themselves; the library's command line starts this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Group as Lines
from rich.console import RenderableType

from clearwell import settings
from clearwell.cli.group import Group
from clearwell.cli.output import emit, home_option, json_option, progress, table
from services.backfill import run as running
from services.backfill.arrivals import Arrivals, arrivals
from services.backfill.bound import parse
from services.backfill.manifest import Manifest
from services.backfill.plan import CHUNK, Plan, file_name, make_request, run_folder


@click.group(cls=Group)
def backfill() -> None:
    """Replay a stream's history through its own pipeline into Parquet, for training.

    The rows are what the live stream gave, or would have given. A range of time goes by arrival, when Kafka took an
    event in, and not by the event's own time: history of 2013 that was loaded today arrived today. It holds its
    beginning and not its end.
    """


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
@home_option
@json_option
@click.pass_context
def plan_command(
    ctx: click.Context,
    /,
    stream: str,
    start: str | None,
    end: str | None,
    into: Path,
    version: int | None,
    chunk: int,
    as_json: bool,
) -> None:
    """Show what `run` would read and write; exit code 1 where it would find nothing.

    \b
      clearwell backfill plan flights --into training/flights
      clearwell backfill plan flights --from 2026-11-01 --to 2026-11-02 --into training/flights
    """
    plan = _plan(stream, start, end, into, version, chunk)
    _show(ctx, plan, into, as_json)


@backfill.command("run")
@range_options
@click.option("--dry-run", is_flag=True, help="Only plan.")
@home_option
@json_option
@click.pass_context
def run_command(
    ctx: click.Context,
    /,
    stream: str,
    start: str | None,
    end: str | None,
    into: Path,
    version: int | None,
    chunk: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write the training set; a run that was broken off goes on where it was.

    The same range again is found finished and nothing is done, so it can stand in a crontab. Where no event arrived in
    the range nothing is written, and the exit code is 1.

    \b
      clearwell backfill run flights --into training/flights
      clearwell backfill run flights --from 2026-11-01 --to 2026-11-02 --into training/flights
    """
    plan = _plan(stream, start, end, into, version, chunk)
    if dry_run or not plan.ranges:
        _show(ctx, plan, into, as_json)
        return
    with progress() as report:
        what, total = f"backfilling {stream}", plan.events
        done, ran = asyncio.run(running.run(settings.load(), plan, into, lambda count: report(what, count, total)))
    folder = str(run_folder(into, plan))
    emit(as_json, {"folder": folder, "ran": ran, "manifest": done}, lambda: _sentence(done, ran, folder))


def _plan(stream: str, start: str | None, end: str | None, into: Path, version: int | None, chunk: int) -> Plan:
    where = settings.load()
    begin = parse(start, "--from") if start else None
    until = parse(end, "--to") if end else None
    return running.choose_plan(where, make_request(where, stream, version, begin, until, chunk), into)


def _show(ctx: click.Context, plan: Plan, into: Path, as_json: bool) -> None:
    """Exit code 1 where the range holds nothing: what was meant may be another clock's (invariant 11)."""
    arrived = None if plan.ranges else asyncio.run(arrivals(settings.load(), plan.topic))
    emit(as_json, _shown(plan, into, arrived), lambda: _overview(plan, into, arrived))
    if not plan.ranges:
        ctx.exit(1)


def _shown(plan: Plan, into: Path, arrived: Arrivals | None) -> dict[str, object]:
    return {
        "clock": "arrival",
        "arrived_from": arrived[0] if arrived else None,
        "arrived_to": arrived[1] if arrived else None,
        "run": plan.run,
        "folder": str(run_folder(into, plan)),
        "stream": plan.request.stream,
        "version": plan.request.version,
        "topic": plan.topic,
        "topic_id": plan.topic_id,
        "events": plan.events,
        "ranges": plan.ranges,
        "gone_before": plan.gone,
        "files": [file_name(chunk) for chunk in plan.chunks()],
    }


def _overview(plan: Plan, into: Path, arrived: Arrivals | None) -> RenderableType:
    if not plan.ranges:
        return f"{_nothing(plan, arrived)}{_gone(plan)}"
    files = [chunk.partition for chunk in plan.chunks()]
    rows = [(one.partition, one.first, one.end - 1, len(one), files.count(one.partition)) for one in plan.ranges]
    shown = table(("partition", "first offset", "last offset", "events", "files"), rows)
    request = plan.request
    timed = any(bound is not None and bound.time is not None for bound in (request.start, request.end))
    clock = ", by the time of their arrival," if timed else ""
    return Lines(shown, f"{plan.events:,} events{clock} into {run_folder(into, plan)}.{_gone(plan)}")


def _nothing(plan: Plan, arrived: Arrivals | None) -> str:
    if arrived is None:
        return f"{plan.topic} holds no events."
    first, last = (f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in arrived)
    return (
        f"No event of {plan.topic} arrived in that range. A range goes by when Kafka took events in, not by the time "
        f"in them: those that are there arrived from {first} to {last}. Without --from and --to all are read."
    )


def _sentence(done: Manifest, ran: bool, folder: str) -> str:
    begun = "Written" if ran else "This run is finished already; nothing was done"
    said = f"{begun}: {done.kept:,} rows in {folder} ({done.dropped:,} dropped, {done.rejected:,} rejected)."
    if done.gone:
        said += f" {done.gone:,} offsets of the range held no event: retention has removed them."
    return said


def _gone(plan: Plan) -> str:
    if not plan.gone:
        return ""
    count = sum(plan.gone.values())
    if plan.request.start is not None and plan.request.start.time is not None:
        return f" Up to {count:,} older events of that time are gone: retention has removed them."
    return f" {count:,} older events are gone: retention has removed them."

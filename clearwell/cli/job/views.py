"""`clearwell job list | show`: how jobs are doing, and who runs them."""

from __future__ import annotations

import click

from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.cli.results import format_lag, format_time, render_facts, to_json
from clearwell.control.jobs import JobStatus, list_jobs, show_job
from clearwell.control.stream_parts import find_stream


@click.command("list")
@click.option("--stream", help="Of this stream alone.")
@common_options
def list_command(stream: str | None, as_json: bool) -> None:
    """Show how all jobs are doing.

    State, the worker that runs it, lag (events still to be read, and how old they are), events a second over the last
    minute, last error, next try. A job that no worker has is waiting.

    \b
      clearwell job list --stream flights
    """
    with open_platform() as platform:
        statuses = list_jobs(platform, stream)
        if stream is not None and not statuses:
            find_stream(platform, stream)  # a wrong name is told with the nearest right one
    heads = ("job", "kind", "state", "worker", "lag", "rate", "last error", "next try")
    nothing = "There are no jobs" + (f" of {stream}." if stream else ": publish a contract.")
    rows = [_row(status) for status in statuses]
    shown = {"jobs": [to_json(status) for status in statuses]}
    emit(as_json, shown, lambda: table(heads, rows) if rows else nothing)


def _row(status: JobStatus) -> tuple[object, ...]:
    return (
        status.name,
        status.kind,
        status.state,
        status.worker or "",
        format_lag(status.lag_events, status.lag_seconds),
        status.rate,
        status.last_error or "",
        format_time(status.next_try_at) or "",
    )


@click.command()
@click.argument("name")
@common_options
def show(name: str, as_json: bool) -> None:
    """Show all that is known of one job.

    Its consumer group, who runs it, what it takes of a core, its errors, and why it runs in a process of its own.
    """
    with open_platform() as platform:
        row = to_json(show_job(platform, name))
    emit(as_json, row, lambda: render_facts(row))

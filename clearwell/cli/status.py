"""`clearwell status`: how every stream is doing, and what runs it; or one stream, a line a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click
from rich.console import Group, RenderableType

from clearwell import settings
from clearwell.cli.output import common_options, emit, table
from clearwell.cli.platform import open_platform
from clearwell.cli.results import format_lag, format_seconds, format_time, to_json
from clearwell.cli.worker.views import worker_table
from clearwell.control.connectors import ConnectorStatus
from clearwell.control.jobs import JobStatus
from clearwell.control.status import (
    ProcessStatus,
    StackStatus,
    StreamReport,
    StreamStatus,
    show_status,
    show_stream_status,
)


@click.command()
@click.argument("stream", required=False)
@common_options
@click.pass_context
def status(ctx: click.Context, stream: str | None, as_json: bool) -> None:
    """Show how each stream is doing, and what runs it; of one STREAM, each job and connector.

    A stream is as its worst job or connector is. "no worker" and "no collector": nobody has them. "not cleaned": a
    connector brings events, and no contract of the stream is published.

    "in", "clean" and "dead" are what its topics have taken, in records: one that was written again after a crash counts
    twice. "dropped" with a "~" is reckoned: what the cleaner has read, and is neither clean nor dead. "lag" and
    "freshness": how many events its job that is furthest behind has still to take, and how old the oldest is. "?" is
    what can't be known now. `clearwell balance` has the account to the event.

    Ends with exit code 1 when anything is not ready, a stream needs somebody, or nothing runs.

    \b
      clearwell status
      clearwell status flights
    """
    if stream is not None:
        with open_platform() as platform:
            report = show_stream_status(platform, stream)
        emit(as_json, _report_to_json(report), lambda: _render_report(report))
        ctx.exit(0 if report.ready else 1)
    stack = show_status(settings.home_folder())
    nothing = f"No stack is running in {stack.home}: run `clearwell up`."
    emit(as_json, to_json(stack), lambda: Group(*_render_stack(stack)) if stack.processes else nothing)
    ctx.exit(0 if stack.ready else 1)


def _render_stack(stack: StackStatus) -> Iterator[RenderableType]:
    if stack.unknown is not None:
        yield f"Nothing is known of streams: {stack.unknown}"
    else:
        yield _stream_table(stack.streams) if stack.streams else "There is no stream yet: publish a contract."
    yield ""
    yield _process_table(stack.processes)
    if stack.workers:
        yield ""
        yield worker_table(stack.workers)
    yield from _losses({stream.name: stream.lost for stream in stack.streams})


def _render_report(report: StreamReport) -> Group:
    parts: list[RenderableType] = [_stream_table([report.stream])]
    if report.jobs or report.connectors:
        heads = ("job or connector", "kind", "state", "run by", "rate", "lag", "last error", "next try")
        rows = [*map(_connector_row, report.connectors), *map(_job_row, report.jobs)]
        parts += ["", table(heads, rows)]
    return Group(*parts, *_losses(report.lost))


def _stream_table(streams: Sequence[StreamStatus]) -> RenderableType:
    heads = ("stream", "state", "in", "clean", "dropped", "dead", "lag", "freshness", "last error")
    rows = [
        (
            stream.name,
            stream.state,
            _or_unknown(stream.raw),
            _or_unknown(stream.clean),
            _reckoned(stream.dropped),
            _or_unknown(stream.dead),
            _or_unknown(stream.lag_events),
            "?" if stream.lag_seconds is None else format_seconds(stream.lag_seconds),
            stream.last_error or "",
        )
        for stream in streams
    ]
    return table(heads, rows)


def _job_row(job: JobStatus) -> tuple[object, ...]:
    return (
        job.name,
        job.kind,
        job.state,
        job.worker or "",
        job.rate,
        format_lag(job.lag_events, job.lag_seconds),
        job.last_error or "",
        format_time(job.next_try_at) or "",
    )


def _connector_row(connector: ConnectorStatus) -> tuple[object, ...]:
    return (
        connector.name,
        connector.source,
        connector.state,
        connector.read_by or "",
        round(connector.rate, 1),
        format_lag(connector.lag_events, connector.lag_seconds),
        connector.last_error or "",
        format_time(connector.next_try_at) or "",
    )


def _process_table(processes: Sequence[ProcessStatus]) -> RenderableType:
    heads = ("process", "state", "pid", "endpoint", "for", "restarts", "log", "last error")
    rows = [
        (
            process.name,
            process.state,
            str(process.pid or ""),
            process.endpoint,
            format_seconds(process.seconds) if process.since else "",
            process.restarts,
            process.log,
            process.last_error,
        )
        for process in processes
    ]
    return table(heads, rows)


def _losses(lost: Mapping[str, int]) -> Iterator[str]:
    for name, offsets in lost.items():
        if offsets:
            yield (
                f"{name} has lost {offsets:,} offsets, which retention removed before they were read: keep the topic "
                "longer (retention.ms), or find out what held it up."
            )


def _report_to_json(report: StreamReport) -> dict[str, object]:
    return {"ready": report.ready, **to_json(report)}


def _or_unknown(number: int | None) -> object:
    return "?" if number is None else number


def _reckoned(number: int | None) -> object:
    """Nothing was dropped for certain; any other number is reckoned."""
    return f"~{number:,}" if number else _or_unknown(number)

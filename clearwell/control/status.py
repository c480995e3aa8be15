"""How a platform is doing: its streams, then the processes of the stack and what workers and collectors have."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from clearwell import settings
from clearwell.control.connectors import ConnectorStatus
from clearwell.control.jobs import JobStatus
from clearwell.control.platform import Platform
from clearwell.control.stream_figures import StreamFigures, figures_of, lag_of
from clearwell.control.stream_parts import StreamParts, all_streams, find_stream
from clearwell.control.stream_states import StreamState
from clearwell.control.workers import WorkerStatus, list_workers
from clearwell.errors import ClearwellError
from clearwell.local import stack
from clearwell.local.state import ProcessState
from clearwell.registry import dead_letters, losses


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A stream in one line; its figures as `StreamFigures` and `Lag` have them, None where that is not known.

    `lag_seconds`: how old the oldest event is that a destination still waits for. `lost`: offsets that retention
    removed before a job had read them. `last_error`: of the job or connector that is worst.
    """

    name: str
    state: StreamState
    raw: int | None
    clean: int | None
    dropped: int | None
    dead: int | None
    lag_events: int | None
    lag_seconds: float | None
    lost: int
    last_error: str | None


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """A stream with a line for each of its jobs and connectors. `lost` is by job, without those that lost nothing."""

    stream: StreamStatus
    jobs: Sequence[JobStatus]
    connectors: Sequence[ConnectorStatus]
    lost: Mapping[str, int]

    @property
    def ready(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.stream.state.is_well


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the stack, or a named server: its `state` for so many `seconds`, since a Unix time."""

    name: str
    state: str
    pid: int | None
    endpoint: str
    since: float
    seconds: int
    restarts: int
    log: str
    last_error: str


class StackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A platform. `ready`: its stack is there and ready, and no stream needs anybody.

    `unknown`: why nothing is said of streams and workers, None where it is.
    """

    home: str
    ready: bool
    streams: Sequence[StreamStatus]
    processes: Sequence[ProcessStatus]
    workers: Sequence[WorkerStatus]
    unknown: str | None


@dataclass(slots=True)
class _Registered:
    """What the registry tells, and Kafka of it."""

    streams: Sequence[StreamStatus] = ()
    workers: Sequence[WorkerStatus] = ()
    unknown: str | None = field(default="No stack is running.")


def show_status(home: Path) -> StackStatus:
    """Every stream, every process of the stack in the data folder `home`, the named servers, the workers. Blocks."""
    processes = stack.status(home)
    registered = _try_registered() if processes else _Registered()
    well = all(process.state in stack.WELL for process in processes)
    return StackStatus(
        home=str(home),
        ready=registered.unknown is None and well and all(stream.state.is_well for stream in registered.streams),
        streams=registered.streams,
        processes=[_process_status(process) for process in processes],
        workers=registered.workers,
        unknown=registered.unknown,
    )


def list_stream_statuses(platform: Platform) -> list[StreamStatus]:
    """Every stream in one line, by name. Blocks. Raises as `Platform.looking`; without Kafka its figures are None."""
    return _statuses(platform, all_streams(platform))


def show_stream_status(platform: Platform, name: str) -> StreamReport:
    """One stream. Blocks. Raises ConfigError (code "no_such_stream") when there is none, and as `Platform.looking`."""
    stream = find_stream(platform, name)
    (status,) = _statuses(platform, [stream])
    with platform.looking() as session:
        lost = losses.totals(session)
    return StreamReport(
        stream=status,
        jobs=stream.jobs,
        connectors=stream.connectors,
        lost={job.name: lost[job.name] for job in stream.jobs if job.name in lost},
    )


def _statuses(platform: Platform, streams: Sequence[StreamParts]) -> list[StreamStatus]:
    with platform.looking() as session:
        lost, refused = losses.totals(session), dead_letters.refused_by_destinations(session)
    try:
        figures = figures_of(platform.settings.kafka, streams, refused)
    except ClearwellError:  # its process, or its server, says why
        figures = {}
    return [_status(stream, figures.get(stream.name, StreamFigures()), lost) for stream in streams]


def _status(stream: StreamParts, figures: StreamFigures, lost: Mapping[str, int]) -> StreamStatus:
    lag = lag_of(stream.jobs, figures.unread)
    return StreamStatus(
        name=stream.name,
        state=stream.state,
        raw=figures.raw,
        clean=figures.clean,
        dropped=figures.dropped,
        dead=figures.dead,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        lost=sum(lost.get(job.name, 0) for job in stream.jobs),
        last_error=stream.last_error,
    )


def _try_registered() -> _Registered:
    try:
        with Platform(settings.load()) as platform:
            return _Registered(list_stream_statuses(platform), list_workers(platform), None)
    except ClearwellError as error:
        return _Registered(unknown=str(error))


def _process_status(process: ProcessState) -> ProcessStatus:
    return ProcessStatus(
        name=process.name,
        state=process.state,
        pid=None if process.identity is None else process.identity.pid,
        endpoint=process.endpoint,
        since=process.since,
        seconds=int(time.time() - process.since) if process.since else 0,
        restarts=process.restarts,
        log=process.log,
        last_error=process.last_error,
    )

"""What a platform of many idle streams takes, how soon it is ready, and whether a busy stream notices the others.

The processes measured are our own: workers, and one collector as a running stack has; the servers are not.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from clearwell.bench.figures import Say, delivered, store_of
from clearwell.bench.measure import running, watch
from clearwell.bench.platform_scene import PlatformScene, platform_scene
from clearwell.bench.scene import Scene, fill_raw
from clearwell.contract.load import load
from clearwell.errors import ConfigError, Fatal
from clearwell.registry import jobs, leases
from clearwell.registry.jobs import JobKind, JobState, RegisteredJob, WantedState
from clearwell.registry.leases import LeaseKind
from clearwell.settings import Settings

WORKERS = 2
"""As an embedded stack has on two cores."""

IDLE_SECONDS = 30.0
"""For so long the processor time of processes that have nothing to do is added up."""

SETTLE_SECONDS = 10.0
"""After so long without news jobs have gone to sleep, as far as they do."""

LOOK = 0.1
"""Seconds between two looks at the registry."""

PATIENCE = 600.0
"""Seconds within which anything that is waited for must come."""

WELL = (JobState.RUNNING, JobState.IDLE)

GOALS = {
    "rss_mb": "1,200 at most, of 100 streams",
    "idle_cpu_percent": "20 of one core at most, of 100 streams",
    "ready_seconds": "90 at most, of 100 streams",
    "next_stream_seconds": "5 at most",
    "next_stream_mb": "6 at most",
    "busy_ratio": "0.9 at least",
    "takeover_seconds": "15 at most, of 100 jobs",
}


@dataclass(frozen=True, slots=True)
class PlatformFigures:
    """`streams` idle ones, each with a cleaner, a copier and two deliverers; memory and CPU are of all `processes`.

    `ready_seconds`: from starting the processes until every job runs or is idle. `next_stream_seconds`: from publishing
    one more contract until its first event is in Postgres. `busy_ratio`: raw to Postgres of one busy stream among the
    idle ones, beside the same alone. `takeover_seconds`: from the death of one worker until its jobs run elsewhere.
    """

    streams: int
    processes: int
    rss_mb: float
    idle_cpu_percent: float
    ready_seconds: float
    next_stream_seconds: float
    next_stream_mb: float
    busy_ratio: float
    takeover_seconds: float


def bench_platform(settings: Settings, streams: int, events: int, say: Say) -> PlatformFigures:
    """Measure; `events` is how many the busy stream has each time. Raises ConfigError and Fatal."""
    original = settings.schemas / "flights" / "v1.yaml"
    if not original.exists():
        raise ConfigError(f"The busy stream is that of {original}, which is not there.")
    with platform_scene(settings) as scene:
        busy = BusyStream(scene, scene.publish_busy(original), events)
        say("the busy stream alone")
        with _processes(scene) as processes:
            _until("the busy stream's jobs", lambda: _are_well(scene))
            alone = busy.rate(processes)
        say(f"publishing {streams} streams")
        scene.publish_small(streams)
        say(f"starting {WORKERS} workers and a collector")
        began = time.monotonic()
        with _processes(scene) as processes:
            _until("all jobs", lambda: _are_well(scene))
            ready = time.monotonic() - began
            say(f"ready after {ready:.1f} s; idle for {SETTLE_SECONDS + IDLE_SECONDS:.0f} s")
            time.sleep(SETTLE_SECONDS)
            idle = _idle_cpu(processes)
            before = _rss_mb(processes)
            say("one more stream")
            next_seconds = _next_stream(scene)
            time.sleep(SETTLE_SECONDS)
            next_mb = _rss_mb(processes) - before
            say("the busy stream among the idle ones")
            among = busy.rate(processes)
            say("a worker is killed")
            takeover = _take_over(scene, processes)
    return PlatformFigures(
        streams=streams,
        processes=len(processes),
        rss_mb=round(before, 1),
        idle_cpu_percent=round(idle, 2),
        ready_seconds=round(ready, 2),
        next_stream_seconds=round(next_seconds, 2),
        next_stream_mb=round(next_mb, 2),
        busy_ratio=round(among / alone, 3),
        takeover_seconds=round(takeover, 2),
    )


class BusyStream:
    """The flights, into Postgres, each time as many new events."""

    def __init__(self, scene: PlatformScene, file: Path, events: int) -> None:
        self._platform = scene.platform
        self._scene = Scene(scene.settings, load(file), file.parents[1], scene.env)
        self._events = events
        self._sent = 0

    def rate(self, processes: Sequence[psutil.Process]) -> float:
        """Events a second from raw to Postgres, from the first to the last that is seen there.

        They are in raw before the cleaner goes on: nothing but our processes is measured.
        """
        self._set_cleaner(WantedState.PAUSED, JobState.PAUSED)
        fill_raw(self._scene, self._events, self._sent)
        self._sent += self._events
        with _store(self._scene) as count:
            before = count()
            self._set_cleaner(WantedState.RUNNING)
            return watch(processes, lambda: count() - before, self._events).events_per_second

    def _set_cleaner(self, wanted: WantedState, state: JobState | None = None) -> None:
        names = [job.spec.name for job in self._jobs() if job.spec.kind is JobKind.CLEANER]
        with self._platform.registry.session() as session:
            jobs.set_wanted(session, names, wanted, str(wanted), jobs.target(names[0]))
        _until(f"the cleaner to be {wanted}", lambda: state is None or self._cleaner_is(state))

    def _cleaner_is(self, state: JobState) -> bool:
        return all(job.health.state is state for job in self._jobs() if job.spec.kind is JobKind.CLEANER)

    def _jobs(self) -> list[RegisteredJob]:
        with self._platform.looking() as session:
            return jobs.list_jobs(session, self._scene.stream)


@contextmanager
def _store(scene: Scene) -> Iterator[Callable[[], int]]:
    store = store_of(scene, "postgres")
    try:
        yield delivered(scene, store)
    finally:
        store.close()


@contextmanager
def _processes(scene: PlatformScene) -> Iterator[list[psutil.Process]]:
    """Workers, then a collector. A worker that the bench has killed may be gone at the end."""
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(scene)) for _ in range(WORKERS)]
        yield [*workers, stack.enter_context(running("services.collector", [], scene.env))]


@contextmanager
def _worker(scene: PlatformScene) -> Iterator[psutil.Process]:
    killed = False
    try:
        with running("services.worker", [], scene.env) as process:
            yield process
            killed = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except Fatal:
        if not killed:
            raise


def _are_well(scene: PlatformScene) -> bool:
    with scene.platform.looking() as session:
        return all(job.health.state in WELL for job in jobs.list_jobs(session))


def _idle_cpu(processes: Sequence[psutil.Process]) -> float:
    """Percent of one core."""
    before = _cpu_seconds(processes)
    time.sleep(IDLE_SECONDS)
    return (_cpu_seconds(processes) - before) / IDLE_SECONDS * 100


def _cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(taken.user + taken.system for taken in times))


def _rss_mb(processes: Sequence[psutil.Process]) -> float:
    return float(sum(process.memory_info().rss for process in processes)) / 1_000_000


def _next_stream(scene: PlatformScene) -> float:
    began = time.monotonic()
    (stream,) = scene.publish_small(1)
    scene.send(stream, b'{"id":"1","at":"2026-01-01T00:00:00Z","amount":1}')
    _until("the first event of a new stream", lambda: scene.row_count(stream) == 1)
    return time.monotonic() - began


def _take_over(scene: PlatformScene, processes: Sequence[psutil.Process]) -> float:
    """Kill a worker; seconds until another has each of its jobs, and has said that it runs or is idle."""
    victim = processes[0]
    name = f"{socket.gethostname()}:{victim.pid}"
    with scene.platform.looking() as session:
        held = leases.holders(session, kind=LeaseKind.JOB)
    lost = {job for job, holder in held.items() if holder.process == name}
    if not lost:
        raise Fatal("The worker that was to be killed had no job.")
    victim.kill()
    began, at = time.monotonic(), datetime.now(UTC) - timedelta(milliseconds=1)
    with suppress(psutil.TimeoutExpired):
        victim.wait(5)

    def is_over() -> bool:
        with scene.platform.looking() as session:
            holders = leases.holders(session, lost, kind=LeaseKind.JOB)
            known = {job.spec.name: job for job in jobs.list_jobs(session)}
        return all(
            job in holders
            and holders[job].process != name
            and known[job].updated_at > at
            and known[job].health.state in WELL
            for job in lost
        )

    _until("the jobs of the worker that was killed", is_over)
    return time.monotonic() - began


def _until(what: str, is_so: Callable[[], bool]) -> None:
    """Wait. Raises Fatal when it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise Fatal(f"Waited {PATIENCE:.0f} s for {what}.")
        time.sleep(LOOK)

"""A job on a worker: started, put to sleep when all is read, woken, tried again when it fails, stopped.

A job that is asleep holds nothing: no thread, no connection, no member of a consumer group. The worker's one watcher
knows where the topics end, and the job is started anew as soon as there is more to read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from clearwell.backoff import delays
from clearwell.errors import Retryable
from clearwell.kafka.names import raw_topic
from clearwell.registry.jobs import JobFigures, JobHealth, JobSpec, JobState, RegisteredJob
from clearwell.worker.destination_health import DestinationHealth
from clearwell.worker.job_failure import describe_failure
from clearwell.worker.job_meters import JobMeter

log = logging.getLogger(__name__)

SLEEPS_AFTER = 10.0
"""Seconds without anything to read after which a job is put to sleep."""

WELL_AFTER = 30.0
"""Seconds of running after which the next failure counts as the first one again."""

HANGS_AFTER = 30.0
"""Seconds that a job may take to stop, longer than its own limits together (`job_run`)."""

FIRST_WAIT, LONGEST_WAIT = 0.3, 30.0

Ends = Mapping[str, Mapping[int, int]]
"""Topic → partition → the offset after the last record."""


class Running(Protocol):
    """A job under way: `clearwell.worker.job_thread.JobThread`, or a process of its own."""

    @property
    def failure(self) -> BaseException | None: ...
    @property
    def is_started(self) -> bool: ...
    @property
    def has_ended(self) -> bool: ...
    def positions(self) -> Mapping[int, int] | None: ...
    def held_positions(self) -> Mapping[int, int] | None: ...
    def stop(self) -> None: ...
    def stuck(self, seconds: float) -> str | None: ...


Start = Callable[[RegisteredJob, DestinationHealth, JobMeter], Running]
"""Starts a job."""


class HostedJob:
    """Everything about one job that this worker has; lives in the worker's event loop."""

    def __init__(self, registered: RegisteredJob, start: Start, meter: JobMeter, asleep_at: Ends | None = None) -> None:
        """`asleep_at`: where its topics end, when it is known to have read them: then it begins asleep."""
        self.registered = registered
        self.running: Running | None = None
        self._start = start
        self._meter = meter
        self._asleep_at = asleep_at
        self._destination = DestinationHealth()
        self._waits: Iterator[float] = delays(FIRST_WAIT, LONGEST_WAIT)
        self._failure: JobHealth | None = None
        self._next_try = 0.0
        self._began = 0.0
        self._quiet_since: float | None = None
        self._falls_asleep_at: Ends | None = None
        self.is_stopping = False
        self._stop_asked: float | None = None
        self.was_asleep = False
        self._woken_at: float | None = None

    @property
    def spec(self) -> JobSpec:
        """What it is."""
        return self.registered.spec

    @property
    def is_asleep(self) -> bool:
        """Whether it holds nothing, for there is nothing to do."""
        return self._asleep_at is not None

    @property
    def is_starting(self) -> bool:
        """Whether it is on its way to take batches."""
        return self.running is not None and not self.running.is_started and not self.running.has_ended

    @property
    def is_over(self) -> bool:
        """Whether it was stopped, and holds nothing any more."""
        return self.is_stopping and self.running is None

    @property
    def waits_to_start(self) -> bool:
        """Whether it is to be started now."""
        return (
            self.running is None
            and not self.is_stopping
            and self._asleep_at is None
            and time.monotonic() >= self._next_try
        )

    @property
    def hangs(self) -> bool:
        """Whether it was to stop, and has not for so long that it never will."""
        return self._stop_asked is not None and time.monotonic() - self._stop_asked > HANGS_AFTER

    def health(self) -> JobHealth:
        """How it is, as the registry is told."""
        if self.is_stopping and self.running is None:
            return self.stopped(JobState.WAITING)
        if self.is_asleep:
            return JobHealth(JobState.IDLE)
        if self._failure is not None and (self.running is None or not self.running.is_started):
            return self._failure
        if self.running is None or not self.running.is_started:
            return JobHealth(JobState.STARTING)
        return self._destination.now

    def stopped(self, state: JobState) -> JobHealth:
        """How it is once it has stopped; what went wrong before stays visible."""
        return JobHealth(state) if self._failure is None else stopped(self._failure, state)

    def watched_topics(self) -> set[str]:
        """The topics whose ends this job wants to know: what it reads, and raw, whose events will come to it soon."""
        return {self.spec.topic, raw_topic(self.spec.stream)}

    def begin(self) -> None:
        """Start it; to be called when it `waits_to_start`."""
        self._destination = DestinationHealth()
        self._began = time.monotonic()
        self._quiet_since = None
        self._falls_asleep_at = None
        if self._failure is not None:
            self._meter.restarted()
        self.running = self._start(self.registered, self._destination, self._meter)

    def stop(self) -> None:
        """Stop it in an orderly way, for good."""
        self.was_asleep = self.was_asleep or self.is_asleep
        self.is_stopping = True
        self._asleep_at = None
        self._stop_running()

    def change(self, registered: RegisteredJob) -> None:
        """Another contract, or a person who wants a new start: what runs stops in order, and begins anew."""
        self.registered = registered
        self._failure, self._next_try, self._asleep_at = None, 0.0, None
        self._falls_asleep_at = None
        self._stop_running()

    def look(self, ends: Ends) -> None:
        """Take notice of what has happened since the last look; `ends` as the watcher knows them."""
        if self._asleep_at is not None:
            self._wake_if_more(ends)
        elif self.running is not None and self.running.has_ended:
            self._end(self.running)
        elif self.running is not None and self.running.is_started and not self.is_stopping:
            if self._woken_at is not None:
                self._meter.woke(time.monotonic() - self._woken_at)
                self._woken_at = None
            self._sleep_if_quiet(self.running, ends)

    def figures(self, ends: Ends) -> JobFigures:
        """What it does, as the registry is told."""
        if self._asleep_at is not None:
            positions = self._asleep_at.get(self.spec.topic)
        else:
            positions = self.running.held_positions() if self.running is not None else None
        self._meter.enter(self.health().state)
        reading = self._meter.read(self._held_ends(ends, positions), positions)
        lag_seconds = None if reading.lag_seconds is None else round(reading.lag_seconds, 1)
        return JobFigures(
            reading.events, round(reading.rate, 1), reading.lag_events, lag_seconds, round(reading.busy, 3)
        )

    def _held_ends(self, ends: Ends, positions: Mapping[int, int] | None) -> Mapping[int, int] | None:
        """Of the partitions that this copy of the job holds; None where that, or where they end, is not known."""
        every = ends.get(self.spec.topic)
        if every is None or not positions:
            return None
        return {partition: end for partition, end in every.items() if partition in positions}

    def close(self) -> None:
        """It has left this worker."""
        self._meter.close()

    def _stop_running(self) -> None:
        if self.running is not None:
            self._stop_asked = self._stop_asked or time.monotonic()
            self.running.stop()

    def _wake_if_more(self, ends: Ends) -> None:
        for topic, known in (self._asleep_at or {}).items():
            if topic in ends and ends[topic] != known:
                self._asleep_at, self._woken_at = None, time.monotonic()
                return

    def _sleep_if_quiet(self, running: Running, ends: Ends) -> None:
        now = time.monotonic()
        positions, topic = running.positions(), self.spec.topic
        if positions is None or topic not in ends or positions != ends[topic] or self._destination.now.next_try_at:
            self._quiet_since = None
            return
        if self._failure is not None and now - self._began > WELL_AFTER:
            self._failure, self._waits = None, delays(FIRST_WAIT, LONGEST_WAIT)
        self._quiet_since = self._quiet_since or now
        raw = raw_topic(self.spec.stream)
        if now - self._quiet_since >= SLEEPS_AFTER and self._falls_asleep_at is None and raw in ends:
            self._falls_asleep_at = {topic: ends[topic], raw: ends[raw]}
            self._stop_running()

    def _end(self, running: Running) -> None:
        self.running = self._stop_asked = None
        if running.failure is None:
            self._asleep_at, self._falls_asleep_at = None if self.is_stopping else self._falls_asleep_at, None
            self._failure = None
            return
        if time.monotonic() - self._began > WELL_AFTER:
            self._waits = delays(FIRST_WAIT, LONGEST_WAIT)
        wait = next(self._waits)
        self._next_try = time.monotonic() + wait
        self._failure = failed(running.failure, wait)
        self._meter.failed()
        again = "It was being stopped." if self.is_stopping else f"Tried again in {wait:.1f} s."
        log.error("%s: %s %s", self.spec.name, self._failure.last_error, again)


def failed(error: BaseException, wait: float) -> JobHealth:
    """How a job is that ended by `error` and is tried again after `wait` seconds."""
    now = datetime.now(UTC)
    state = JobState.RETRYING if isinstance(error, Retryable) else JobState.FAILING
    return JobHealth(state, describe_failure(error), now, now + timedelta(seconds=wait))


def stopped(health: JobHealth, state: JobState) -> JobHealth:
    """The same, of a job that a person has paused or ended; what went wrong before stays visible."""
    return replace(health, state=state, next_try_at=None)

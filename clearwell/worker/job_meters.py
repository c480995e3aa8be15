"""What one job does, in figures: counted once a batch, read every few seconds by whoever reports them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from clearwell.metrics import table
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.metrics.window import Window


class JobLabels(NamedTuple):
    """How a job is called in metrics: the values of `clearwell.metrics.table.JOB`."""

    stream: str
    kind: str
    destination: str = ""
    copy: str = "1"


@dataclass(frozen=True, slots=True)
class MeterReading:
    """`events` since the start; `rate` (events a second) and `busy` (parts of a core) over the last minute.

    The lag is None where nobody knows it. `lag_seconds`: since when, at most, the job is behind; 0 when all is read.
    """

    events: int
    rate: float
    lag_events: int | None
    lag_seconds: float | None
    busy: float


class JobMeter:
    """Of one job, from one start of it to its end; the metrics that it adds to live on.

    What counts is called by the job's threads, `read` by one other. `clock` and `now` are monotonic and Unix seconds.
    """

    def __init__(
        self,
        metrics: ProcessMetrics,
        labels: JobLabels,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._labels = labels
        self._now = now
        self._clock = clock
        self._events = 0
        self._positions: dict[int, int] = {}
        self._newest = 0.0
        self._caught_up: float | None = None
        self._state = ""
        self._threads = ThreadTimes()
        self._busy = 0.0
        self._window = Window(clock(), 0, 0.0)

    def watch_thread(self) -> None:
        """The calling thread works for this job: its processor time counts from now on."""
        self._threads.add()

    def handled(self, partition: int, next_offset: int, events: int, newest: float, seconds: float) -> None:
        """A batch is acknowledged: the position after it, the Unix time of its last record, how long it took."""
        self._events += events
        self._positions[partition] = next_offset
        self._newest = max(self._newest, newest)
        self._metrics.add(table.JOB_EVENTS, self._labels, events)
        self._metrics.observe(table.JOB_BATCH_SECONDS, seconds, self._labels)

    def cleaned(self, kept: int, dropped: int, rejected: Mapping[str, int]) -> None:
        """What became of raw events, durably; `rejected` by reason (`clearwell.metrics.metric.reason_of`)."""
        stream = self._labels.stream
        counts = {"kept": kept, "dropped": dropped, "rejected": sum(rejected.values())}
        for outcome, count in counts.items():
            if count:
                self._metrics.add(table.CLEANER_EVENTS, (stream, outcome), count)
        for reason, count in rejected.items():
            self._metrics.add(table.CLEANER_REJECTED, (stream, reason), count)

    def written(self, rows: int, seconds: float) -> None:
        """A destination has taken rows, durably."""
        names = self._labels.stream, self._labels.destination
        self._metrics.add(table.DESTINATION_ROWS, names, rows)
        self._metrics.observe(table.DESTINATION_WRITE_SECONDS, seconds, names)

    def retried(self) -> None:
        """What the job needs is away or not well, and is tried again."""
        self._metrics.add(table.JOB_RETRIES, self._labels)

    def failed(self) -> None:
        """The job ended by an error."""
        self._metrics.add(table.JOB_FAILURES, self._labels)

    def restarted(self) -> None:
        """The job was started again after a failure."""
        self._metrics.add(table.JOB_RESTARTS, self._labels)

    def woke(self, seconds: float) -> None:
        """The job slept, and reads again: so long after there was news."""
        self._metrics.observe(table.WORKER_WAKE_SECONDS, seconds)

    def enter(self, state: str) -> None:
        """The job is in another state (`clearwell.registry.jobs.JobState`)."""
        before, self._state = self._state, state
        if before != state:
            self._metrics.remove(table.JOB_STATE, (*self._labels, before))
        self._metrics.set(table.JOB_STATE, 1, (*self._labels, state))

    def read(self, ends: Mapping[int, int] | None = None, positions: Mapping[int, int] | None = None) -> MeterReading:
        """The figures now; to be called every few seconds.

        `ends`: the end offsets of the partitions that the job holds; None: nobody knows. `positions`: where it began
        or was committed, for partitions of which no batch was handled since the start.
        """
        busy = self._threads.read()
        self._metrics.add(table.JOB_BUSY_SECONDS, self._labels, busy - self._busy)
        self._busy = busy
        events = self._events
        rate, busy = self._window.rates(self._clock(), events, busy)
        lag = self._lag(ends, positions or {})
        lag_seconds = self._lag_seconds(lag)
        if self._state:
            self._metrics.set(table.JOB_STATE, 1, (*self._labels, self._state))
        self._metrics.set(table.JOB_LAG_EVENTS, lag, self._labels)
        self._metrics.set(table.JOB_LAG_SECONDS, lag_seconds, self._labels)
        return MeterReading(events, rate, lag, lag_seconds, busy)

    def close(self) -> None:
        """The job has left this process: how it is, and how far behind, is no longer said here."""
        self._metrics.remove(table.JOB_STATE, (*self._labels, self._state))
        self._metrics.remove(table.JOB_LAG_EVENTS, self._labels)
        self._metrics.remove(table.JOB_LAG_SECONDS, self._labels)

    def _lag(self, ends: Mapping[int, int] | None, positions: Mapping[int, int]) -> int | None:
        if ends is None:
            return None
        own, lag = self._positions.copy(), 0
        for partition, end in ends.items():
            known = max(own.get(partition, -1), positions.get(partition, -1))
            if known < 0:
                return None
            lag += max(end - known, 0)
        return lag

    def _lag_seconds(self, lag: int | None) -> float | None:
        """What is still to be handled came after the newest event that was, and after all was last seen read."""
        if lag is None:
            return None
        if lag == 0:
            self._caught_up = self._now()
            return 0.0
        since = max(self._newest, self._caught_up or 0.0)
        return max(self._now() - since, 0.0) if since else None


class ThreadTimes:
    """Processor time of threads, read from outside of them; of one that has ended what was read last."""

    def __init__(self) -> None:
        self._total = 0.0
        self._seen: dict[int, float] = {}  # clock → the time that is in the total

    def add(self) -> None:
        """The calling thread belongs to them, from now on."""
        clock = time.pthread_getcpuclockid(threading.get_ident())
        self._seen.setdefault(clock, time.clock_gettime(clock))

    def read(self) -> float:
        """Seconds of all of them together, since each was added."""
        for clock, seen in self._seen.copy().items():
            try:
                seconds = time.clock_gettime(clock)
            except OSError:  # the thread has ended
                seconds = -1.0
            if seconds < seen:  # ended, or another one has its number by now
                self._seen.pop(clock, None)
            else:
                self._total += seconds - seen
                self._seen[clock] = seconds
        return self._total

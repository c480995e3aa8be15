"""What a job's meter says, by a clock of the test's own."""

from __future__ import annotations

import threading
import time

import pytest
from prometheus_client import generate_latest

from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.worker.job_meters import JobLabels, JobMeter, ThreadTimes

LABELS = JobLabels("flights", "cleaner")
TIME = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def meter(self, metrics: ProcessMetrics | None = None) -> JobMeter:
        return JobMeter(metrics or ProcessMetrics(), LABELS, lambda: self.seconds, lambda: TIME + self.seconds)


def handle(meter: JobMeter, next_offset: int, events: int, newest: float = 0.0) -> None:
    meter.handled(0, next_offset, events, TIME + newest, 0.01)


def test_the_rate_is_that_of_the_last_minute() -> None:
    clock = Clock()
    meter = clock.meter()
    for _ in range(30):  # a minute at 100 events a second
        clock.seconds += 2
        handle(meter, 0, 200)
        reading = meter.read()
    assert (reading.events, reading.rate) == (6_000, 100)
    clock.seconds += 30
    assert meter.read().rate == pytest.approx(6_000 / 90, rel=0.4)
    for _ in range(20):
        clock.seconds += 2
        reading = meter.read()
    assert (reading.events, reading.rate) == (6_000, 0)


def test_the_lag_is_what_lies_between_positions_and_ends() -> None:
    meter = Clock().meter()
    assert meter.read().lag_events is None, "nobody said where the log ends"
    assert meter.read({0: 10}).lag_events is None, "nor where the job is"
    assert meter.read({0: 10}, {0: 4}).lag_events == 6
    handle(meter, 8, 4)
    assert meter.read({0: 10}, {0: 4}).lag_events == 2, "its own position is newer than the committed one"
    assert meter.read({0: 10, 1: 5}, {1: 5}).lag_events == 2
    assert meter.read({1: 5}, {1: 0}).lag_events == 5, "partition 0 has gone to another member"
    assert meter.read({0: 7}).lag_events == 0, "an end that was asked for before the last batch"


def test_the_lag_in_seconds_is_since_it_was_behind() -> None:
    clock = Clock()
    meter = clock.meter()
    assert meter.read({0: 10}, {0: 0}).lag_seconds is None, "it has handled nothing yet"
    clock.seconds = 100
    handle(meter, 5, 5, newest=40)
    assert meter.read({0: 10}).lag_seconds == 60
    handle(meter, 10, 5, newest=90)
    assert meter.read({0: 10}).lag_seconds == 0
    clock.seconds = 3_600
    assert meter.read({0: 10}).lag_seconds == 0, "silence is no lag"
    clock.seconds = 3_602
    assert meter.read({0: 11}).lag_seconds == 2, "what is there now came after all was read"
    assert meter.read(None).lag_seconds is None


def test_a_record_from_the_future_makes_no_negative_lag() -> None:
    meter = Clock().meter()
    handle(meter, 5, 5, newest=1_000)
    assert meter.read({0: 10}).lag_seconds == 0


def test_processor_time_of_its_threads_counts_and_that_of_others_does_not() -> None:
    times, go, done = ThreadTimes(), threading.Event(), threading.Event()

    def work() -> None:
        times.add()
        end = time.thread_time() + 0.03
        while time.thread_time() < end:
            pass
        go.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    go.wait()
    first = times.read()
    end = time.thread_time() + 0.03
    while time.thread_time() < end:
        pass
    assert 0.03 <= first < 0.06 and times.read() - first < 0.02
    done.set()
    thread.join()
    assert times.read() >= first, "what a thread took stays when it has ended"


def test_what_it_is_told_is_on_the_page_and_how_it_is_goes_with_it() -> None:
    metrics = ProcessMetrics()
    meter = Clock().meter(metrics)
    meter.enter("running")
    meter.enter("idle")
    meter.cleaned(90, 4, {"decode": 5, "bounds": 1})
    meter.retried()
    handle(meter, 100, 100)
    meter.read({0: 100})
    page = generate_latest(metrics.registry).decode()
    job = 'copy="1",destination="",kind="cleaner"'
    for line in (
        f'clearwell_job_state{{{job},state="idle",stream="flights"}} 1.0',
        f'clearwell_job_events_total{{{job},stream="flights"}} 100.0',
        f'clearwell_job_batch_seconds_count{{{job},stream="flights"}} 1.0',
        f'clearwell_job_lag_events{{{job},stream="flights"}} 0.0',
        f'clearwell_job_retries_total{{{job},stream="flights"}} 1.0',
        'clearwell_cleaner_events_total{outcome="rejected",stream="flights"} 6.0',
        'clearwell_cleaner_rejected_total{reason="bounds",stream="flights"} 1.0',
    ):
        assert line in page
    assert 'state="running"' not in page
    meter.close()
    page = generate_latest(metrics.registry).decode()
    assert "job_state{" not in page and "lag_events{" not in page and "job_events_total{" in page

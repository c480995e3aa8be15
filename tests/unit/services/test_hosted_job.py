"""What a worker tells of the lag of a job: of the partitions that this copy holds, and nothing guessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest

from clearwell.errors import Retryable
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.registry.jobs import JobFigures, JobHealth, JobKind, JobSpec, JobState, RegisteredJob, WantedState
from clearwell.worker.job_meters import JobLabels, JobMeter
from services.worker.hosted_job import HostedJob

GROUP, AT = "cleaner.s.v1", datetime(2026, 3, 1, tzinfo=UTC)
ENDS = {"raw.s": {0: 10, 1: 20, 2: 30}}


class Copy:
    """A job that runs, of which something is under way."""

    failure, is_started, has_ended = None, True, False

    def __init__(self, held: Mapping[int, int] | None) -> None:
        self._held = held

    def positions(self) -> Mapping[int, int] | None:
        return None

    def held_positions(self) -> Mapping[int, int] | None:
        return self._held

    def stop(self) -> None: ...

    def stuck(self, seconds: float) -> str | None:
        return None


def hosted(held: Mapping[int, int] | None) -> tuple[HostedJob, JobMeter]:
    spec = JobSpec(f"{GROUP}#2", GROUP, JobKind.CLEANER, "s", 1)
    registered = RegisteredJob(
        spec, WantedState.RUNNING, JobHealth(JobState.RUNNING), JobFigures(), False, "", 0, None, AT, AT
    )
    meter = JobMeter(ProcessMetrics(), JobLabels("s", "cleaner"))
    job = HostedJob(registered, lambda *_: Copy(held), meter)
    job.begin()
    return job, meter


@pytest.mark.parametrize(
    ("held", "lag"),
    [
        ({0: 0, 2: 25}, 15),  # the other copy has partition 1
        ({0: 10, 1: 20, 2: 30}, 0),
        ({0: 0, 2: -1}, None),  # it has only just got partition 2
        ({}, None),
        (None, None),
    ],
)
def test_the_lag_is_that_of_what_is_held(held: Mapping[int, int] | None, lag: int | None) -> None:
    assert hosted(held)[0].figures(ENDS).lag_events == lag


def test_what_was_handled_since_counts_before_all_is_quiet_again() -> None:
    job, meter = hosted({0: 0, 2: 25})
    meter.handled(0, 7, 7, 0.0, 0.01)
    assert job.figures(ENDS).lag_events == 3 + 5
    assert job.figures({}).lag_events is None, "nobody knows where its topic ends"


class Failing(Copy):
    """A job that ends by an error as soon as it is looked at."""

    failure, has_ended = Retryable("Kafka is away."), True


def test_waking_and_failing_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ProcessMetrics()
    runs: list[Copy] = [Failing({}), Copy({})]
    meter = JobMeter(metrics, JobLabels("s", "cleaner"))
    job = HostedJob(hosted({})[0].registered, lambda *_: runs.pop(0), meter, ENDS)
    job.look(ENDS)
    assert job.is_asleep
    job.look({"raw.s": {0: 11, 1: 20, 2: 30}})
    job.begin()
    job.look({})
    assert job.running is None and job.health().state is JobState.RETRYING
    job.begin()
    job.look({})
    page = generate_latest(metrics.registry).decode()
    assert "clearwell_worker_wake_seconds_count 1.0" in page, "from the news on, its failure in between"
    for what in ("failures", "restarts"):
        assert f'clearwell_job_{what}_total{{copy="1",destination="",kind="cleaner",stream="s"}} 1.0' in page

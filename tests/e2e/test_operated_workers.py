"""Two real workers of one stream: one is drained, its partitions grow, and it is removed, while events flow."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from clearwell.control import stream_removal, workers
from clearwell.control.jobs import list_jobs
from clearwell.control.platform import Actor
from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.stream_changes import add_partitions, plan_partitions
from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.registry.jobs import JobState
from tests.support.platform import PARTITIONS, Platform, numbered, until
from tests.support.registered_jobs import publish, withdraw

pytestmark = pytest.mark.slow
ANNA = Actor("anna", "test")


@pytest.fixture
def control(platform: Platform) -> Iterator[ControlPlatform]:
    platform.only("postgres")
    with ControlPlatform(platform.settings) as opened:
        publish(opened, platform)
        yield opened
        withdraw(opened, platform.stream)


def test_a_drained_worker_gives_all_away_and_a_removed_stream_is_let_go(
    platform: Platform, control: ControlPlatform
) -> None:
    stream, names = platform.stream, [f"{platform.stream}_{number}" for number in (1, 2)]
    for name in names:
        platform.start("worker", CLEARWELL_STREAM=stream, CLEARWELL_WORKER=name)
    values = list(numbered(400))
    platform.put(values)

    def holders() -> set[str | None]:
        return {job.worker for job in list_jobs(control, stream)}

    until(lambda: platform.cleaned() >= 400 and holders() == set(names), 60)
    workers.apply(control, ANNA, workers.plan_drain(control, names[0]))
    until(lambda: holders() == {names[1]}, 30)
    until(lambda: {row.state for row in workers.list_workers(control) if row.name == names[0]} == {"drained"}, 10)

    add_partitions(control, ANNA, plan_partitions(control, stream, PARTITIONS + 1))
    platform.put(values, PARTITIONS)
    until(lambda: platform.cleaned() >= 800, 60)
    until(lambda: {job.state for job in list_jobs(control, stream)} <= {JobState.IDLE, JobState.RUNNING}, 30)

    began = time.monotonic()
    stream_removal.remove(control, ANNA, stream_removal.plan_removal(control, stream, data=True))
    assert time.monotonic() - began < 5
    assert admin.describe(control.settings.kafka, [raw_topic(stream)]) == {} and list_jobs(control, stream) == []
    assert all(service.stop() == 0 for service in platform.services)

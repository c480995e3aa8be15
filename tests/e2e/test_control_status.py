"""The status of streams on real servers: totals of many in few requests, and what is not known where Kafka is away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient

from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.status import list_stream_statuses, show_stream_status
from clearwell.control.stream_figures import figures_of
from clearwell.control.stream_parts import all_streams
from clearwell.control.stream_states import StreamState
from clearwell.kafka import admin, groups
from clearwell.kafka.names import clean_topic, cleaner_group, dead_topic, dropped_topic, raw_topic
from clearwell.registry import jobs, losses
from clearwell.registry.jobs import JobFigures, JobHealth, JobReport, JobState
from clearwell.registry.losses import Loss
from tests.support.platform import Platform
from tests.support.registered_jobs import hold, leave, publish, report, withdraw


@pytest.fixture
def control(platform: Platform) -> Iterator[ControlPlatform]:
    with ControlPlatform(platform.settings) as opened:
        yield opened
        withdraw(opened, platform.stream)


@pytest.fixture
def worker(control: ControlPlatform, unique: Callable[[str], str]) -> Iterator[str]:
    name = unique("worker")
    yield name
    leave(control, name)


@pytest.fixture
def names(control: ControlPlatform, platform: Platform) -> list[str]:
    """The jobs of a stream that has read 7 of 10 events: 4 are clean, one is rejected, two were dropped."""
    stream = platform.stream
    platform.put([b"{}"] * 10, partition=0)
    for topic, count in ((clean_topic(stream, 1), 4), (dead_topic(stream), 1), (dropped_topic(stream), 1)):
        platform.append(topic, [(b"{}", [], 0)] * count)
    groups.commit(platform.settings.kafka, cleaner_group(stream, 1), raw_topic(stream), {0: (7, "")})
    return publish(control, platform)


def test_a_stream_in_one_line_and_a_line_a_job(
    control: ControlPlatform,
    platform: Platform,
    names: list[str],
    worker: str,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (status,) = [status for status in list_stream_statuses(control) if status.name == platform.stream]
    assert (status.raw, status.clean, status.dropped, status.dead) == (10, 4, 2, 1)
    assert (status.state, status.lag_events, status.lag_seconds) == (StreamState.NO_WORKER, 3, None)
    hold(control, worker, names)
    caught_up = JobFigures(rate=2.0, lag_events=0, lag_seconds=0.0)
    specs = jobs.specs_of(platform.contract)
    report(control, *(JobReport(spec, JobHealth(JobState.IDLE), caught_up) for spec in specs))
    behind = JobReport(specs[-1], JobHealth(JobState.RETRYING, "MongoDB is away."), replace(caught_up, lag_events=40))
    report(control, behind)
    with control.looking() as session:
        losses.record(session, names[0], Loss("id", 0, 0, 5))
    details = show_stream_status(control, platform.stream)
    assert (details.stream.state, details.stream.lag_events) == (StreamState.RETRYING, 40)
    assert (details.stream.last_error, details.stream.lost) == ("MongoDB is away.", 5)
    assert details.lost == {names[0]: 5} and not details.ready
    assert run("status", platform.stream, "--json") == 1
    as_json = json.loads(capsys.readouterr().out)
    assert as_json["stream"]["lag_events"] == 40 and {job["name"] for job in as_json["jobs"]} == set(names)
    assert run("status", platform.stream) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(names[-1]))
    assert line.split()[2:6] == ["retrying", worker, "2.0", "40,"]
    report(control, replace(behind, health=JobHealth(JobState.RUNNING)))
    assert run("status", platform.stream) == 0


def test_the_figures_of_all_streams_take_three_questions(
    control: ControlPlatform,
    names: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    for name in ("describe_topics", "list_partition_offsets", "list_group_offsets"):
        question = getattr(KafkaAdminClient, name)

        def ask(*args: object, question: Callable[..., object] = question, **options: object) -> object:
            asked.append(question.__name__)
            return question(*args, **options)

        monkeypatch.setattr(KafkaAdminClient, name, ask)
    streams = all_streams(control)
    figures_of(control.settings.kafka, streams * 3, {})
    assert sorted(asked) == ["describe_topics", "list_group_offsets", "list_partition_offsets"]


def test_without_kafka_the_registry_still_tells(control: ControlPlatform, platform: Platform, names: list[str]) -> None:
    with ControlPlatform(replace(control.settings, kafka="127.0.0.1:1")) as alone:
        status = show_stream_status(alone, platform.stream).stream
    assert (status.raw, status.clean, status.dropped, status.dead, status.lag_events) == (None,) * 5
    assert status.state is StreamState.NO_WORKER
    admin.close()

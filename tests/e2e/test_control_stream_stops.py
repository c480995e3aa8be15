"""A stream paused, resumed and removed as a whole: what goes with it, what stays, and who is in the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from clearwell.control import job_changes, stream_pauses, stream_removal
from clearwell.control.contract_publication import derive_jobs
from clearwell.control.jobs import list_jobs
from clearwell.control.platform import Actor
from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.stream_parts import find_stream
from clearwell.control.stream_states import StreamState
from clearwell.control.subscriptions import plan_subscription, subscribe
from clearwell.errors import ConfigError, Hint, Retryable
from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.registry import Registry, audit, connectors, contracts, leases, subscriptions
from clearwell.registry.connectors import State
from clearwell.registry.jobs import JobState
from clearwell.registry.leases import LeaseKind
from tests.support.at_once import refused_at_once
from tests.support.platform import Platform
from tests.support.registered_jobs import hold, leave, publish, withdraw

ANNA = Actor("anna", "api", "too much")


@pytest.fixture
def control(platform: Platform) -> Iterator[ControlPlatform]:
    with ControlPlatform(platform.settings) as opened:
        yield opened
        withdraw(opened, platform.stream)


@pytest.fixture
def names(control: ControlPlatform, platform: Platform) -> list[str]:
    """The jobs of a published stream, the cleaner first."""
    return publish(control, platform)


@pytest.fixture
def sources(registry: Registry, platform: Platform) -> list[str]:
    """Three connectors of the stream: one that runs, one that a person has paused, one that someone must mend."""
    made = [f"{platform.stream}_{name}" for name in ("reads", "paused", "failing")]
    with registry.session() as session:
        for name in made:
            connectors.add(session, name, "file", platform.stream, {"path": "nowhere"})
        connectors.set_state(session, made[1], State.PAUSED, "pause")
        connectors.note_end(session, made[2], State.FAILING, "It is broken.")
    return made


def states(control: ControlPlatform, stream: str) -> dict[str, str]:
    parts = find_stream(control, stream)
    jobs = {job.name: job.state.value for job in parts.jobs}
    return jobs | {connector.name: connector.state for connector in parts.connectors}


def refusal(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        act()
    return refused.value


def test_a_resume_brings_back_what_the_pause_stopped_and_nothing_else(
    control: ControlPlatform, platform: Platform, names: list[str], sources: list[str]
) -> None:
    stream, reads, by_hand = platform.stream, sources[0], names[-1]
    job_changes.apply(control, ANNA, job_changes.plan_pause(control, by_hand))
    before = states(control, stream)
    pause = stream_pauses.plan_pause(control, stream)
    assert (set(pause.jobs), pause.connectors) == (set(names) - {by_hand}, [reads])
    assert states(control, stream) == before
    assert refused_at_once(*[partial(stream_pauses.apply, control, ANNA, pause)] * 2) == ["plan_is_old"]
    assert {state for name, state in states(control, stream).items() if name != sources[2]} == {"paused"}
    assert states(control, stream)[sources[2]] == "failing"
    again = stream_pauses.plan_pause(control, stream)
    assert (again.jobs, again.connectors) == ([], [])
    stream_pauses.apply(control, ANNA, again)
    resume = stream_pauses.plan_resume(control, stream)
    assert set(resume.others) == {by_hand, sources[1]}
    stream_pauses.apply(control, ANNA, resume)
    assert states(control, stream) == before
    nothing = stream_pauses.plan_resume(control, stream)
    assert (nothing.jobs, nothing.connectors) == ([], [])
    with control.looking() as session:
        entries = audit.entries(session, stream_pauses.target(stream))
    assert [(entry.who, entry.action) for entry in entries] == [("anna", "resume"), ("anna", "pause")]


def test_a_second_pause_adds_to_the_first(control: ControlPlatform, platform: Platform, names: list[str]) -> None:
    stream, cleaner = platform.stream, names[0]
    stream_pauses.apply(control, ANNA, stream_pauses.plan_pause(control, stream))
    job_changes.apply(control, ANNA, job_changes.plan_resume(control, cleaner))
    assert find_stream(control, stream).state is StreamState.NO_WORKER
    second = stream_pauses.plan_pause(control, stream)
    assert second.jobs == [cleaner]
    stream_pauses.apply(control, ANNA, second)
    assert set(stream_pauses.plan_resume(control, stream).jobs) == set(names)


def test_what_is_published_while_a_stream_is_paused_is_paused_with_it(
    control: ControlPlatform, platform: Platform, names: list[str]
) -> None:
    stream = platform.stream
    stream_pauses.apply(control, ANNA, stream_pauses.plan_pause(control, stream))
    with control.looking() as session:
        text = platform.contract_file.read_text().replace("version: 1", "version: 2", 1)
        contracts.publish(session, stream, 2, 0, text)
        ended = derive_jobs(session, stream)
    assert f"cleaner.{stream}.v1" in ended
    assert {job.name: job.state for job in list_jobs(control, stream)}[f"cleaner.{stream}.v2"] is JobState.PAUSED
    stream_pauses.apply(control, ANNA, stream_pauses.plan_resume(control, stream))
    assert {job.state for job in list_jobs(control, stream)} == {JobState.WAITING}


def test_a_stream_is_removed_once_its_workers_have_let_go(
    control: ControlPlatform,
    platform: Platform,
    names: list[str],
    sources: list[str],
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, worker = platform.stream, unique("worker")
    epochs = hold(control, worker, names, scope=worker)
    plan = stream_removal.plan_removal(control, stream)
    assert (set(plan.jobs), plan.connectors, plan.versions) == (set(names), sorted(sources), [1])
    assert raw_topic(stream) in plan.kept and plan.topics == []
    monkeypatch.setattr(stream_removal, "LET_GO_SECONDS", 0.2)
    with pytest.raises(Retryable, match=f"{worker} did not let go of the stream {stream}"):
        stream_removal.remove(control, ANNA, plan)
    assert {job.state for job in list_jobs(control, stream)} == {JobState.ENDED}
    assert states(control, stream)[sources[0]] == "paused"
    monkeypatch.undo()

    def let_go() -> None:
        time.sleep(0.3)
        with control.looking() as session:
            for name, epoch in epochs.items():
                leases.release(session, worker, name, epoch, LeaseKind.JOB)

    with ThreadPoolExecutor() as pool:
        pool.submit(let_go)
        began = time.monotonic()
        stream_removal.remove(control, ANNA, stream_removal.plan_removal(control, stream))
    assert time.monotonic() - began < 5
    leave(control, worker)
    gone = refusal(lambda: find_stream(control, stream))
    assert (gone.code, gone.hint) == ("no_such_stream", Hint("streams.list"))
    assert admin.partition_count(platform.settings.kafka, raw_topic(stream)) > 0
    with control.looking() as session:
        (revision,) = contracts.revisions(session, stream)
    assert revision.retired_at is not None


def test_a_stream_that_a_model_reads_stays(control: ControlPlatform, platform: Platform, names: list[str]) -> None:
    model = f"{platform.stream}_model"
    subscribe(control, ANNA, plan_subscription(control, model, platform.stream, fields=["carrier"]))
    refused = refusal(lambda: stream_removal.plan_removal(control, platform.stream))
    assert (refused.code, refused.hint) == ("stream_is_read", Hint("subscriptions.remove", model))
    with control.looking() as session:
        subscriptions.remove(session, model)
    assert set(stream_removal.plan_removal(control, platform.stream).jobs) == set(names)


def test_the_commands(
    control: ControlPlatform,
    platform: Platform,
    names: list[str],
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def printed(*args: str) -> str:
        assert run(*args) == 0
        return capsys.readouterr().out

    stream, raw = platform.stream, raw_topic(platform.stream)
    line = next(line for line in printed("stream", "list").splitlines() if line.startswith(f"{stream} "))
    assert line.split()[1:4] == ["no", "worker", "v1"]
    jobs = f"{len(names)} jobs and 0 connectors"
    assert printed("stream", "pause", stream, "--dry-run") == f'Stream "{stream}": {jobs} would stop.\n'
    assert printed("stream", "pause", stream) == f'Stream "{stream}": {jobs} stop.\n'
    assert json.loads(printed("stream", "resume", stream, "--json"))["jobs"] == sorted(names)
    assert run("stream", "remove", stream, "--data", "--json") == 2
    assert json.loads(capsys.readouterr().out)["code"] == "would_delete"
    assert "would be deleted, with every event in them" in printed("stream", "remove", stream, "--data", "--dry-run")
    removed = json.loads(printed("stream", "remove", stream, "--data", "--yes", "--json"))
    assert raw in removed["topics_deleted"] and removed["versions"] == [1]
    assert admin.describe(platform.settings.kafka, [raw]) == {}

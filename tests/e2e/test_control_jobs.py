"""The control plane of jobs and workers: what they say, and what a person may do to them, planned and applied once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from clearwell.control.job_changes import apply, plan_copies, plan_pause, plan_restart, plan_resume
from clearwell.control.jobs import list_jobs, show_job
from clearwell.control.platform import Actor
from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.workers import apply as apply_drain
from clearwell.control.workers import list_workers, plan_drain, plan_undo
from clearwell.errors import ConfigError, Hint
from clearwell.registry import audit, jobs, leases
from clearwell.registry.jobs import JobFigures, JobHealth, JobReport, JobState
from clearwell.registry.leases import LeaseKind
from tests.support.at_once import refused_at_once
from tests.support.platform import Platform
from tests.support.registered_jobs import hold, leave, publish, report, withdraw

ANNA = Actor("anna", "api", "it is stuck")
BERT = Actor("bert", "test")


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
def worker(control: ControlPlatform, unique: Callable[[str], str]) -> Iterator[str]:
    name = unique("worker")
    yield name
    leave(control, name)


def refusal(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        act()
    return refused.value


def test_a_job_is_what_is_wanted_then_whether_it_runs_then_what_its_worker_says(
    control: ControlPlatform, platform: Platform, names: list[str], worker: str
) -> None:
    cleaner, *others = names
    assert {status.state for status in list_jobs(control, platform.stream)} == {JobState.WAITING}
    hold(control, worker, [cleaner], seconds=0.5)
    spec = jobs.specs_of(platform.contract)[0]
    at = datetime.now(UTC)
    health = JobHealth(JobState.RETRYING, "Kafka is away.", at, at)
    report(control, JobReport(spec, health, JobFigures(70, 12.34, 1_200, 8.04, 0.5)))
    details = show_job(control, cleaner)
    assert (details.state, details.worker, details.last_error) == (JobState.RETRYING, worker, "Kafka is away.")
    assert (details.rate, details.lag_events, details.lag_seconds, details.events) == (12.3, 1_200, 8.0, 70)
    time.sleep(0.6)  # its lease has run out: what was said then is no longer so
    (status,) = [status for status in list_jobs(control, platform.stream) if status.name == cleaner]
    assert (status.state, status.worker, status.rate) == (JobState.WAITING, None, 0.0)
    apply(control, BERT, plan_pause(control, cleaner))
    assert show_job(control, cleaner).state is JobState.PAUSED
    with control.looking() as session:
        jobs.end(session, platform.stream, keep=others)
    assert [status.name for status in list_jobs(control, platform.stream)] == sorted(others)
    ended = refusal(lambda: plan_restart(control, cleaner))
    assert (ended.code, ended.hint) == ("job_ended", Hint("jobs.list"))


def test_a_plan_changes_nothing_and_applied_once_tells_who_did_it(control: ControlPlatform, names: list[str]) -> None:
    cleaner = names[0]
    pause, restart = plan_pause(control, cleaner), plan_restart(control, cleaner)
    assert show_job(control, cleaner).state is JobState.WAITING
    assert refused_at_once(*[partial(apply, control, ANNA, pause)] * 2) == ["plan_is_old"]
    old = refusal(lambda: apply(control, BERT, restart))
    assert (old.code, old.hint) == ("plan_is_old", Hint("jobs.show", cleaner))
    refused = refusal(lambda: plan_restart(control, cleaner))
    assert (refused.code, refused.hint) == ("job_paused", Hint("jobs.resume", cleaner))
    apply(control, BERT, plan_resume(control, cleaner))
    apply(control, BERT, plan_restart(control, cleaner))
    assert (show_job(control, cleaner).state, show_job(control, cleaner).restarts) == (JobState.WAITING, 1)
    with control.looking() as session:
        entries = [(entry.who, entry.action) for entry in audit.entries(session, jobs.target(cleaner))]
    assert entries == [("bert", "restart"), ("bert", "resume"), ("anna", "pause")]
    wrong = refusal(lambda: plan_pause(control, cleaner.replace("cleaner", "cleanr")))
    assert wrong.code == "no_such_job" and f'Did you mean "{cleaner}"' in str(wrong)


def test_copies_of_a_job_are_made_paused_and_ended_together(
    control: ControlPlatform, platform: Platform, names: list[str]
) -> None:
    cleaner = names[0]
    copies = [cleaner, f"{cleaner}#2", f"{cleaner}#3"]
    apply(control, ANNA, plan_copies(control, cleaner, 3))
    listed = [status.name for status in list_jobs(control, platform.stream)]
    assert listed == sorted([*names, *copies[1:]])
    pause = plan_pause(control, copies[1])
    assert (pause.name, pause.names) == (cleaner, copies)
    apply(control, ANNA, pause)
    states = {status.name: status.state for status in list_jobs(control, platform.stream)}
    assert {name for name, state in states.items() if state is JobState.PAUSED} == set(copies)
    fewer = plan_copies(control, cleaner, 1)
    assert refused_at_once(*[partial(apply, control, ANNA, fewer)] * 2) == ["plan_is_old"]
    assert [status.name for status in list_jobs(control, platform.stream)] == sorted(names)


def test_a_new_version_has_as_many_copies_and_an_old_one_that_ended_stays_so(
    control: ControlPlatform, platform: Platform, names: list[str]
) -> None:
    cleaner = names[0]
    for copies in (3, 2):
        apply(control, ANNA, plan_copies(control, cleaner, copies))
    with control.looking() as session:
        jobs.derive(session, platform.contract, revision=1)
    cleaners = [status.name for status in list_jobs(control, platform.stream) if status.kind == "cleaner"]
    assert cleaners == [cleaner, f"{cleaner}#2"], "what was scaled down does not come back with a revision"
    with control.looking() as session:
        assert set(jobs.derive(session, replace(platform.contract, version=2))) >= set(cleaners)
    second = cleaner.replace(".v1", ".v2")
    cleaners = [status.name for status in list_jobs(control, platform.stream) if status.kind == "cleaner"]
    assert cleaners == [second, f"{second}#2"]


def test_a_worker_is_drained_and_taken_back(control: ControlPlatform, names: list[str], worker: str) -> None:
    scope, other = f"scope of {worker}", f"{worker}-2"
    hold(control, worker, names, scope=scope)
    (status,) = [status for status in list_workers(control) if status.name == worker]
    assert (status.kind, status.state, status.held, status.busy, status.rss_mb) == (
        "worker", "running", len(names), 0.25, 120.0,
    )  # fmt: skip
    alone = plan_drain(control, worker)
    assert (alone.held, alone.others) == (len(names), 0)
    hold(control, other, [], scope=scope)
    assert plan_drain(control, worker).others == 1
    assert refused_at_once(*[partial(apply_drain, control, ANNA, alone)] * 2) == ["plan_is_old"]
    with control.looking() as session:
        share = partial(leases.share, session, scope=scope, count=9, seconds=60, kind=LeaseKind.JOB)
        assert (share(me=worker), share(me=other)) == (0, 9)
        assert leases.beat(session, worker, worker, scope, LeaseKind.JOB)
    states = {status.name: status.state for status in list_workers(control)}
    assert (states[worker], states[other]) == ("draining", "running")
    apply_drain(control, ANNA, plan_undo(control, worker))
    assert not plan_drain(control, worker).before
    leave(control, other)
    wrong = refusal(lambda: plan_drain(control, f"{worker}x"))
    assert (wrong.code, wrong.hint) == ("no_such_worker", Hint("workers.list")) and worker in str(wrong)


def test_the_commands(
    control: ControlPlatform,
    platform: Platform,
    names: list[str],
    worker: str,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def printed(*args: str) -> str:
        assert run(*args) == 0
        return capsys.readouterr().out

    hold(control, worker, names, scope=worker)
    listed = json.loads(printed("job", "list", "--stream", platform.stream, "--json"))["jobs"]
    assert [row["name"] for row in listed] == sorted(names) and {row["worker"] for row in listed} == {worker}
    line = next(line for line in printed("jobs", "list", "--stream", platform.stream).splitlines() if names[0] in line)
    assert line.split() == [names[0], "cleaner", "waiting", worker, "?", "0.0"]
    assert json.loads(printed("job", "show", names[0], "--json"))["group"] == names[0]
    assert printed("job", "restart", names[0], "--dry-run") == f'Job "{names[0]}" would start anew.\n'
    assert printed("job", "scale", names[0], "2") == f'Job "{names[0]}" runs in 2 copies instead of 1.\n'
    assert printed("job", "pause", names[0]) == f'Job "{names[0]}" is paused, in all its 2 copies.\n'
    assert run("job", "list", "--stream", f"{platform.stream}x") == 2
    assert f'Did you mean "{platform.stream}"' in capsys.readouterr().err
    assert run("job", "restart", names[0], "--json") == 2
    assert json.loads(capsys.readouterr().out)["code"] == "job_paused"
    assert worker in printed("worker", "list")
    kept = f'"{worker}" would keep its {len(names)} jobs: no other worker is there to take them over.\n'
    assert printed("worker", "drain", worker, "--dry-run") == kept

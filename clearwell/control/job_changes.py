"""What may be done to a job: planned first, so that a dry run says what would follow, then applied, once.

What is wanted of a job is a row of the registry; its worker follows within two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, Hint
from clearwell.registry import jobs
from clearwell.registry.jobs import JobSpec, RegisteredJob, WantedState


@dataclass(frozen=True, slots=True)
class JobChange:
    """A job paused, resumed or restarted, as `action` says; `names`: the job, or all copies of it."""

    name: str
    action: str
    names: Sequence[str]
    before: WantedState
    state: WantedState


@dataclass(frozen=True, slots=True)
class CopiesChange:
    """So many `copies` of a job instead of `before`: members of one consumer group, which share its partitions."""

    group: str
    before: int
    copies: int


Plan = JobChange | CopiesChange


def plan_pause(platform: Platform, name: str) -> JobChange:
    """Have a job and its copies stop; positions stay. Raises ConfigError when there is none, or it has ended."""
    return _plan_wanted(platform, name, "pause", WantedState.PAUSED)


def plan_resume(platform: Platform, name: str) -> JobChange:
    """Have a job and its copies go on. Raises as `plan_pause`."""
    return _plan_wanted(platform, name, "resume", WantedState.RUNNING)


def plan_restart(platform: Platform, name: str) -> JobChange:
    """Have a job end and begin anew at once, however long its next try is away, beside others again.

    Raises ConfigError when there is none, it has ended, or is paused.
    """
    with platform.looking() as session:
        job = _living(session, name)
    if job.wanted is WantedState.PAUSED:
        raise ConfigError(
            f'Job "{name}" is paused, so there is nothing to restart.',
            code="job_paused",
            hint=Hint("jobs.resume", name),
        )
    return JobChange(name, "restart", [name], job.wanted, WantedState.RUNNING)


def plan_copies(platform: Platform, name: str, copies: int) -> CopiesChange:
    """Have so many copies of a job, at least one. Raises ConfigError when there is none, or it has ended."""
    with platform.looking() as session:
        group = _living(session, name).spec.group
        return CopiesChange(group, len(_copies(session, group)), copies)


def apply(platform: Platform, actor: Actor, plan: Plan) -> None:
    """Carry a plan out. Raises ConfigError (code "plan_is_old") when a person has changed the job since."""
    with platform.changing(actor) as session:
        match plan:
            case JobChange():
                _change(session, plan)
            case CopiesChange():
                _scale(session, plan)


def _plan_wanted(platform: Platform, name: str, action: str, state: WantedState) -> JobChange:
    with platform.looking() as session:
        job = _living(session, name)
        copies = _copies(session, job.spec.group)
    return JobChange(job.spec.group, action, [copy.name for copy in copies], job.wanted, state)


def _change(session: Session, plan: JobChange) -> None:
    now = jobs.get(session, plan.name, for_update=True).wanted
    if now is not plan.before:
        raise _old(plan.name, f"it was {plan.before}, and is {now}")
    if plan.action == "restart":
        jobs.restart(session, plan.name)
    elif plan.before is not plan.state:
        jobs.set_wanted(session, plan.names, plan.state, plan.action, jobs.target(plan.name))


def _scale(session: Session, plan: CopiesChange) -> None:
    jobs.get(session, plan.group, for_update=True)
    now = len(_copies(session, plan.group))
    if now != plan.before:
        raise _old(plan.group, f"it had {plan.before} copies, and has {now}")
    if plan.before != plan.copies:
        jobs.set_copies(session, plan.group, plan.copies)


def _living(session: Session, name: str) -> RegisteredJob:
    job = jobs.get(session, name)
    if job.wanted is WantedState.ENDED:
        raise ConfigError(
            f'Job "{name}" has ended: no contract asks for it any more, or there are fewer copies.',
            code="job_ended",
            hint=Hint("jobs.list"),
        )
    return job


def _copies(session: Session, group: str) -> list[JobSpec]:
    stream = jobs.get(session, group).spec.stream
    of_stream = jobs.list_jobs(session, stream)
    return [job.spec for job in of_stream if job.spec.group == group and job.wanted is not WantedState.ENDED]


def _old(name: str, difference: str) -> ConfigError:
    return ConfigError(
        f'Job "{name}" has changed since this was planned: {difference}. Look at it, and plan again.',
        code="plan_is_old",
        hint=Hint("jobs.show", name),
    )

"""Jobs as people and programs see them: what workers run, how each is doing, and who runs it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from clearwell.control.platform import Platform
from clearwell.registry import jobs, leases
from clearwell.registry.jobs import JobState, RegisteredJob, WantedState
from clearwell.registry.leases import Holder, LeaseKind


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a job is doing.

    `state`: what its worker says of it; paused as soon as a person wants it; waiting where no worker has it, whatever
    was said before. `worker`: who runs it. `rate`: events a second over the last minute. `lag_events`, `lag_seconds`:
    what it has still to read, and how old the oldest of it is; None where that is not known.
    """

    name: str
    kind: str
    stream: str
    version: int
    destination: str
    state: JobState
    worker: str | None
    rate: float
    lag_events: int | None
    lag_seconds: float | None
    last_error: str | None
    next_try_at: datetime | None


class JobDetails(JobStatus, frozen=True, kw_only=True):
    """All that is known of a job.

    `group`: its consumer group, which further copies share. `events`: handled since its last start. `busy`: the part of
    one core that it took in the last minute. `alone`: it has a process of its own, for the reason `why_alone`.
    """

    group: str
    revision: int
    events: int
    busy: float
    alone: bool
    why_alone: str
    restarts: int
    lease_until: datetime | None
    last_error_at: datetime | None
    reported_at: datetime
    created_at: datetime


def list_jobs(platform: Platform, stream: str | None = None) -> list[JobStatus]:
    """The jobs of one stream or of all, by stream and name, without those that have ended."""
    with platform.looking() as session:
        registered = jobs.list_jobs(session, stream)
        holders = leases.holders(session, kind=LeaseKind.JOB)
    return [
        job_status(job, holders.get(job.spec.name))
        for job in registered
        if job.wanted is not WantedState.ENDED or job.spec.name in holders
    ]


def show_job(platform: Platform, name: str) -> JobDetails:
    """One job. Raises ConfigError, with the nearest name, when there is none."""
    with platform.looking() as session:
        job = jobs.get(session, name)
        holder = leases.holders(session, [name], LeaseKind.JOB).get(name)
    return JobDetails(
        **_status(job, holder),
        group=job.spec.group,
        revision=job.spec.revision,
        events=job.figures.events,
        busy=round(job.figures.busy, 3),
        alone=job.alone,
        why_alone=job.why_alone,
        restarts=job.restarts,
        lease_until=None if holder is None else holder.until,
        last_error_at=job.health.last_error_at,
        reported_at=job.updated_at,
        created_at=job.created_at,
    )


def job_status(job: RegisteredJob, holder: Holder | None) -> JobStatus:
    """A job as its row and its lease have it."""
    return JobStatus(**_status(job, holder))


def state_of(job: RegisteredJob, holder: Holder | None) -> JobState:
    """What a person wants comes first; then whether anybody runs it; then what that one says."""
    match job.wanted:
        case WantedState.ENDED:
            return JobState.ENDED
        case WantedState.PAUSED:
            return JobState.PAUSED
    return JobState.WAITING if holder is None else job.health.state


def _status(job: RegisteredJob, holder: Holder | None) -> dict[str, Any]:
    figures = job.figures
    return {
        "name": job.spec.name,
        "kind": job.spec.kind.value,
        "stream": job.spec.stream,
        "version": job.spec.version,
        "destination": job.spec.destination,
        "state": state_of(job, holder),
        "worker": None if holder is None else holder.process,
        "rate": 0.0 if holder is None else round(figures.rate, 1),
        "lag_events": figures.lag_events,
        "lag_seconds": None if figures.lag_seconds is None else round(figures.lag_seconds, 1),
        "last_error": job.health.last_error,
        "next_try_at": job.health.next_try_at,
    }

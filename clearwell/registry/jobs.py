"""Jobs: what workers run, derived from published contracts, and how each is doing. All in the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.orm import Session

from clearwell.contract.model import Contract
from clearwell.errors import ConfigError, Hint, nearest
from clearwell.kafka.names import (
    archive_group,
    clean_topic,
    cleaner_group,
    dead_letters_group,
    dead_topic,
    deliverer_group,
    raw_topic,
)
from clearwell.registry import audit
from clearwell.registry.models import JobRow


class JobKind(StrEnum):
    """What a job does."""

    CLEANER = "cleaner"
    DEAD_LETTERS = "dead_letters"
    DELIVERER = "deliverer"
    ARCHIVER = "archiver"


class WantedState(StrEnum):
    """What a person or a contract wants of a job."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class JobState(StrEnum):
    """What a worker says of a job.

    waiting: no worker has it yet. idle: all is read; it goes on as soon as there is more. retrying: something it needs
    is away, or it failed, and it is tried again. failing: someone must mend it.
    """

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    IDLE = "idle"
    PAUSED = "paused"
    RETRYING = "retrying"
    FAILING = "failing"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What is to run: a member of the consumer group `group`. `name` tells the copies of one group apart."""

    name: str
    group: str
    kind: JobKind
    stream: str
    version: int
    revision: int = 0
    destination: str = ""

    @property
    def topic(self) -> str:
        """What it reads."""
        if self.kind is JobKind.DELIVERER:
            return clean_topic(self.stream, self.version)
        return dead_topic(self.stream) if self.kind is JobKind.DEAD_LETTERS else raw_topic(self.stream)


@dataclass(frozen=True, slots=True)
class JobHealth:
    """How a job is; `next_try_at` is set while it is retrying. Errors hold no data, no secrets (invariants 9, 10)."""

    state: JobState
    last_error: str | None = None
    last_error_at: datetime | None = None
    next_try_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobFigures:
    """`events` since the last start; `rate` in events a second and `busy` in parts of a core, over the last minute."""

    events: int = 0
    rate: float = 0.0
    lag_events: int | None = None
    lag_seconds: float | None = None
    busy: float = 0.0


@dataclass(frozen=True, slots=True)
class RegisteredJob:
    """All that the registry knows of a job; see `clearwell.registry.models.JobRow`."""

    spec: JobSpec
    wanted: WantedState
    health: JobHealth
    figures: JobFigures
    alone: bool
    why_alone: str
    restarts: int
    offered_to: str | None
    updated_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a worker tells of one job."""

    spec: JobSpec
    health: JobHealth
    figures: JobFigures = field(default_factory=JobFigures)


def specs_of(contract: Contract, revision: int = 0) -> list[JobSpec]:
    """The jobs of one contract: a cleaner, a copier of dead letters, a deliverer a route, an archiver an archive."""
    stream, version = contract.stream, contract.version

    def spec(kind: JobKind, group: str, destination: str = "") -> JobSpec:
        return JobSpec(group, group, kind, stream, version, revision, destination)

    return [
        spec(JobKind.CLEANER, cleaner_group(stream, version)),
        spec(JobKind.DEAD_LETTERS, dead_letters_group(stream)),
        *(
            spec(JobKind.DELIVERER, deliverer_group(stream, version, to), to)
            for to in dict.fromkeys(route.to for route in contract.routes)
        ),
        *(spec(JobKind.ARCHIVER, archive_group(stream, route.to), route.to) for route in contract.archives),
    ]


def derive(session: Session, contract: Contract, revision: int = 0) -> list[str]:
    """Have the jobs of a stream be those of this contract; returns the names of those that end by it.

    One that a person has paused stays so. A job of a new version runs in as many copies as that of the old one.
    """
    before = Counter(
        (job.spec.kind, job.spec.destination)
        for job in list_jobs(session, contract.stream)
        if job.wanted is not WantedState.ENDED
    )
    specs = specs_of(contract, revision)
    for spec in specs:
        values = {"version": spec.version, "revision": spec.revision, "destination": spec.destination}
        again = {"wanted": WantedState.RUNNING, "state": JobState.WAITING, "last_error": None, "next_try_at": None}
        ensure(session, spec)
        session.execute(update(JobRow).where(JobRow.group == spec.group).values(values))
        session.execute(
            update(JobRow).where(JobRow.name == spec.name, JobRow.wanted == WantedState.ENDED).values(again)
        )
        _make_copies(session, spec, before[spec.kind, spec.destination])
    return end(session, contract.stream, keep=[spec.group for spec in specs])


def ensure(session: Session, spec: JobSpec) -> None:
    """Have the registry know a job, to be run, if it does not yet."""
    row = {
        "name": spec.name, "group_name": spec.group, "kind": spec.kind, "stream": spec.stream, "version": spec.version,
        "revision": spec.revision, "destination": spec.destination,
    }  # fmt: skip
    session.execute(insert(JobRow).values(row).on_conflict_do_nothing())


def end(session: Session, stream: str, keep: Collection[str] = ()) -> list[str]:
    """Have all jobs of a stream end, but those of the groups `keep`; returns their names."""
    query = update(JobRow).where(JobRow.stream == stream, JobRow.wanted != WantedState.ENDED)
    if keep:
        query = query.where(JobRow.group.not_in(keep))
    return sorted(session.scalars(query.values(wanted=WantedState.ENDED).returning(JobRow.name)))


def forget(session: Session, names: Collection[str]) -> None:
    """Remove jobs that have ended."""
    ended = JobRow.wanted == WantedState.ENDED
    session.execute(delete(JobRow).where(JobRow.name.in_(names), ended))


def set_copies(session: Session, group: str, copies: int) -> None:
    """Have so many members of a group run, at least one. Raises ConfigError when there is no such job."""
    first = get(session, group)
    names = [first.spec.group, *_copy_names(group, copies)]
    session.execute(
        update(JobRow).where(JobRow.group == group, JobRow.name.not_in(names)).values(wanted=WantedState.ENDED)
    )
    _make_copies(session, first.spec, copies)
    audit.record(session, "scale", target(group), {"copies": copies})


def _copy_names(group: str, copies: int) -> list[str]:
    return [f"{group}#{number}" for number in range(2, copies + 1)]


def _make_copies(session: Session, spec: JobSpec, copies: int) -> None:
    """Further members of a group, which are wanted as the first is; those that are there stay as they are."""
    wanted = session.scalar(select(JobRow.wanted).where(JobRow.name == spec.group))
    again = {"wanted": wanted, "state": JobState.WAITING}
    for name in _copy_names(spec.group, copies):
        row = {
            "name": name, "group_name": spec.group, "kind": spec.kind, "stream": spec.stream, "version": spec.version,
            "revision": spec.revision, "destination": spec.destination, "wanted": wanted,
        }  # fmt: skip
        ended = JobRow.wanted == WantedState.ENDED
        query = insert(JobRow).values(row).on_conflict_do_update(index_elements=["name"], set_=again, where=ended)
        session.execute(query)


def find(session: Session, name: str, *, for_update: bool = False) -> RegisteredJob | None:
    """A job by its name; `for_update`: nobody else changes it before the transaction ends."""
    row = session.get(JobRow, name, with_for_update=for_update or None, populate_existing=True)
    return None if row is None else _registered(row)


def get(session: Session, name: str, *, for_update: bool = False) -> RegisteredJob:
    """As `find`. Raises ConfigError (code "no_such_job") with the nearest name when there is none."""
    job = find(session, name, for_update=for_update)
    if job is None:
        known = session.scalars(select(JobRow.name)).all()
        raise ConfigError(
            f'There is no job "{name}".{nearest(name, known)}', code="no_such_job", hint=Hint("jobs.list")
        )
    return job


def list_jobs(session: Session, stream: str | None = None) -> list[RegisteredJob]:
    """The jobs of one stream or of all, by stream and name."""
    query = select(JobRow).order_by(JobRow.stream, JobRow.name)
    if stream is not None:
        query = query.where(JobRow.stream == stream)
    return [_registered(row) for row in session.scalars(query)]


def set_wanted(
    session: Session,
    names: Collection[str],
    wanted: WantedState,
    action: str,
    target: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Pause or resume jobs on a person's word; what went wrong before is forgotten when they go on.

    The audit of `target` has their names, and `more`.
    """
    values: dict[str, Any] = {"wanted": wanted}
    if wanted is WantedState.RUNNING:
        values |= {"last_error": None, "next_try_at": None}
    session.execute(update(JobRow).where(JobRow.name.in_(names)).values(values))
    audit.record(session, action, target, {"jobs": sorted(names), **more})


def restart(session: Session, name: str) -> None:
    """Have a job begin anew at once. Raises ConfigError when there is none."""
    get(session, name)
    values = {"restarts": JobRow.restarts + 1, "last_error": None, "next_try_at": None, "alone": False, "why_alone": ""}
    session.execute(update(JobRow).where(JobRow.name == name).values(values))
    audit.record(session, "restart", target(name))


def put_alone(session: Session, name: str, why: str) -> None:
    """Have a job that holds up its neighbours run in a process of its own, until a person restarts it."""
    session.execute(update(JobRow).where(JobRow.name == name).values(alone=True, why_alone=_printable(why)))


def offer(session: Session, name: str, to: str | None) -> None:
    """Let a certain worker be the next to take a job; None: any."""
    session.execute(update(JobRow).where(JobRow.name == name).values(offered_to=to))


def report(session: Session, reports: Iterable[JobReport]) -> None:
    """A worker says how its jobs are. The rows are changed in one order: two workers never wait for each other."""
    rows = [
        {
            "job": told.spec.name,
            **_health(told.health),
            "events": told.figures.events,
            "rate": told.figures.rate,
            "lag_events": told.figures.lag_events,
            "lag_seconds": told.figures.lag_seconds,
            "busy": told.figures.busy,
        }
        for told in sorted(reports, key=lambda told: told.spec.name)
    ]
    if rows:
        names = [name for name in rows[0] if name != "job"]
        query = update(JobRow.__table__).where(JobRow.name == bindparam("job"))  # type: ignore[arg-type]
        session.connection().execute(
            query.values({name: bindparam(name) for name in names} | {"updated_at": func.now()}), rows
        )


def fingerprint(session: Session) -> str:
    """Changes whenever what is to run does, and how; not with what workers report."""
    facts = func.concat_ws(
        " ", JobRow.name, JobRow.version, JobRow.revision, JobRow.wanted, JobRow.alone, JobRow.restarts,
        JobRow.offered_to,
    )  # fmt: skip
    every = func.string_agg(facts, aggregate_order_by(literal_column("','"), JobRow.name))
    return session.scalar(select(func.md5(every))) or ""


def target(name: str) -> str:
    """What the audit calls a job."""
    return f"job/{name}"


def _health(health: JobHealth) -> Mapping[str, Any]:
    return {
        "state": health.state,
        "last_error": _printable(health.last_error),
        "last_error_at": health.last_error_at,
        "next_try_at": health.next_try_at,
    }


def _printable(text: str | None) -> str | None:
    """As Postgres takes it."""
    return None if text is None else text.replace("\0", "").encode(errors="backslashreplace").decode()


def _registered(row: JobRow) -> RegisteredJob:
    spec = JobSpec(
        row.name, row.group, JobKind(row.kind), row.stream, row.version, row.revision, row.destination
    )  # fmt: skip
    health = JobHealth(JobState(row.state), row.last_error, row.last_error_at, row.next_try_at)
    figures = JobFigures(row.events, row.rate, row.lag_events, row.lag_seconds, row.busy)
    return RegisteredJob(
        spec, WantedState(row.wanted), health, figures, row.alone, row.why_alone, row.restarts, row.offered_to,
        row.updated_at, row.created_at,
    )  # fmt: skip

"""Who runs which connector and which job: leases that end by Postgres' clock, shared out evenly.

A lease is a row with a holder, an end and an epoch. Its holder puts the end off again and again; when it does not,
because it was killed or cut off, another takes the lease once it has ended. Taking raises the epoch, in the lease and
in the connector's position, so that a holder that comes back from the dead can move nothing (invariant 1).
Collectors hold connectors, workers hold jobs: one mechanism, told apart by `LeaseKind`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Interval, Select, and_, delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.registry import jobs
from clearwell.registry.models import ConnectorRow, JobRow, LeaseRow, PositionRow, ProcessRow

FORGOTTEN = timedelta(hours=1)
"""A process that gave no sign of life for so long leaves the table."""


class LeaseKind(StrEnum):
    """What is leased: connectors by collectors, jobs by workers."""

    CONNECTOR = "connector"
    JOB = "job"


PROCESS_KINDS = {LeaseKind.CONNECTOR: "collector", LeaseKind.JOB: "worker"}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: the process' name ("host:process id"), and until when unless it is renewed."""

    process: str
    epoch: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Load:
    """What a process says of itself: the part of a core that it took in the last minute, its memory, its endpoint."""

    busy: float = 0.0
    rss_mb: float = 0.0
    endpoint: str = ""


NO_LOAD = Load()


@dataclass(frozen=True, slots=True)
class PeerLoad:
    """A process by its id, and the part of a core that it used in the last minute."""

    id: str
    busy: float


def beat(
    session: Session, me: str, name: str, scope: str, kind: LeaseKind = LeaseKind.CONNECTOR, load: Load = NO_LOAD
) -> bool:
    """A sign of life of the process `me`, which serves `scope` with its like; returns whether it is draining."""
    now = func.clock_timestamp()
    session.execute(delete(ProcessRow).where(ProcessRow.seen_at < now - FORGOTTEN))
    figures = {"busy": load.busy, "rss_mb": load.rss_mb, "endpoint": load.endpoint}
    query = insert(ProcessRow).values(id=me, kind=PROCESS_KINDS[kind], name=name, scope=scope, **figures)
    query = query.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now, **figures})
    return bool(session.scalar(query.returning(ProcessRow.draining)))


def renew(
    session: Session, me: str, held: Iterable[tuple[str, int]], seconds: float, kind: LeaseKind = LeaseKind.CONNECTOR
) -> set[str]:
    """Put off the end of leases, given as (name, epoch); returns those that `me` still has.

    A lease that has ended but that nobody took is still ours. One that is being removed just now is not waited for.
    """
    free_now = (
        select(LeaseRow.name)
        .where(LeaseRow.kind == kind, LeaseRow.holder == me, tuple_(LeaseRow.name, LeaseRow.epoch).in_(list(held)))
        .with_for_update(skip_locked=True)
    )
    ours = (LeaseRow.kind == kind, LeaseRow.name.in_(free_now.scalar_subquery()))
    query = update(LeaseRow).where(*ours).values(until=_in(seconds))
    unsynchronised = query.returning(LeaseRow.name).execution_options(synchronize_session=False)
    return set(session.execute(unsynchronised).scalars())


def share(
    session: Session, me: str, scope: str, count: int, seconds: float, kind: LeaseKind = LeaseKind.CONNECTOR
) -> int:
    """How many of `count` the process `me` should hold, beside all others of its kind and scope that live.

    The shares add up to `count`; those who came first have one more where it does not divide. A process that is
    draining has none, as long as another lives that is not.
    """
    alive = ProcessRow.seen_at > func.clock_timestamp() - timedelta(seconds=seconds)
    query = select(ProcessRow.id, ProcessRow.draining).where(
        ProcessRow.kind == PROCESS_KINDS[kind], ProcessRow.scope == scope, alive | (ProcessRow.id == me)
    )
    rows = session.execute(query.order_by(ProcessRow.started_at, ProcessRow.id)).all()
    ids = [row.id for row in rows if not row.draining] or [row.id for row in rows if row.id != me] or [me]
    if me not in ids:
        return 0
    each, rest = divmod(count, len(ids))
    return each + (ids.index(me) < rest)


def take(
    session: Session,
    me: str,
    requested: Sequence[str],
    room: int,
    seconds: float,
    kind: LeaseKind = LeaseKind.CONNECTOR,
) -> dict[str, int]:
    """Take at most `room` free leases of the connectors or jobs `requested` that are to run; their epochs by name."""
    if room <= 0 or not requested:
        return {}
    candidates = session.scalars(_candidates(me, requested, room, kind))
    names: list[str] = sorted(candidates)  # in one order: two never wait for each other
    taken = {name: epoch for name in names if (epoch := _take(session, me, name, seconds, kind)) is not None}
    if kind is LeaseKind.CONNECTOR:
        for name, epoch in taken.items():
            session.execute(update(PositionRow).where(PositionRow.connector == name).values(epoch=epoch))
    return taken


def free(session: Session, me: str, requested: Sequence[str], kind: LeaseKind) -> list[str]:
    """Which of `requested` are to run, and nobody else holds."""
    return list(session.scalars(_free(me, requested, kind)))


def _candidates(me: str, requested: Sequence[str], room: int, kind: LeaseKind) -> Select[Any]:
    """The names of what is to run and nobody holds; nobody removes them before the transaction ends."""
    row = ConnectorRow if kind is LeaseKind.CONNECTOR else JobRow
    some = _free(me, requested, kind).order_by(func.random()).limit(room)
    return some.with_for_update(of=row, key_share=True, read=True, skip_locked=True)


def _free(me: str, requested: Sequence[str], kind: LeaseKind) -> Select[Any]:
    name, is_wanted = (
        (ConnectorRow.name, ConnectorRow.state == "running")
        if kind is LeaseKind.CONNECTOR
        else (JobRow.name, JobRow.wanted == jobs.WantedState.RUNNING)
    )
    is_free = or_(
        LeaseRow.name.is_(None),
        LeaseRow.holder.is_(None),
        LeaseRow.holder == me,
        LeaseRow.until <= func.clock_timestamp(),
    )
    return (
        select(name)
        .outerjoin(LeaseRow, and_(LeaseRow.kind == kind, LeaseRow.name == name))
        .where(name.in_(requested), is_wanted, is_free)
    )


def _take(session: Session, me: str, name: str, seconds: float, kind: LeaseKind) -> int | None:
    """The new epoch, or None when another was faster."""
    query = insert(LeaseRow).values(kind=kind, name=name, holder=me, epoch=1, until=_in(seconds))
    still_free = or_(LeaseRow.holder.is_(None), LeaseRow.holder == me, LeaseRow.until <= func.clock_timestamp())
    taking = query.on_conflict_do_update(
        index_elements=["kind", "name"],
        set_={"holder": me, "epoch": LeaseRow.epoch + 1, "until": _in(seconds)},
        where=still_free,
    )
    return session.execute(taking.returning(LeaseRow.epoch)).scalar_one_or_none()


def release(session: Session, me: str, name: str, epoch: int, kind: LeaseKind = LeaseKind.CONNECTOR) -> None:
    """Let go of a lease, so that another can take it at once; harmless when it is gone already."""
    ours = (LeaseRow.kind == kind, LeaseRow.name == name, LeaseRow.holder == me, LeaseRow.epoch == epoch)
    session.execute(update(LeaseRow).where(*ours).values(holder=None, until=func.clock_timestamp()))


def leave(session: Session, me: str) -> None:
    """The process `me` ends: let go of all that it has, and of its share."""
    session.execute(update(LeaseRow).where(LeaseRow.holder == me).values(holder=None, until=func.clock_timestamp()))
    session.execute(delete(ProcessRow).where(ProcessRow.id == me))


def forget(session: Session, names: Collection[str], kind: LeaseKind = LeaseKind.CONNECTOR) -> None:
    """Remove the leases of what is removed itself."""
    session.execute(delete(LeaseRow).where(LeaseRow.kind == kind, LeaseRow.name.in_(names)))


def holders(
    session: Session, names: Collection[str] | None = None, kind: LeaseKind = LeaseKind.CONNECTOR
) -> dict[str, Holder]:
    """Who holds what now, of all or of `names`; what nobody holds is not in it."""
    query = (
        select(LeaseRow.name, ProcessRow.name.label("process"), LeaseRow.epoch, LeaseRow.until)
        .join(ProcessRow, ProcessRow.id == LeaseRow.holder)
        .where(LeaseRow.kind == kind, LeaseRow.until > func.clock_timestamp())
    )
    if names is not None:
        query = query.where(LeaseRow.name.in_(names))
    return {row.name: Holder(row.process, row.epoch, row.until) for row in session.execute(query)}


def count(session: Session, kind: LeaseKind) -> int:
    """How many leases of a kind are held now."""
    held = (LeaseRow.kind == kind, LeaseRow.holder.is_not(None), LeaseRow.until > func.clock_timestamp())
    return session.scalar(select(func.count()).select_from(LeaseRow).where(*held)) or 0


def loads(session: Session, kind: LeaseKind, scope: str, seconds: float) -> list[PeerLoad]:
    """The processes of a kind and scope that live and are not draining, with the part of a core that each uses."""
    alive = ProcessRow.seen_at > func.clock_timestamp() - timedelta(seconds=seconds)
    ours = (ProcessRow.kind == PROCESS_KINDS[kind], ProcessRow.scope == scope, ProcessRow.draining.is_(False))
    query = select(ProcessRow.id, ProcessRow.busy).where(*ours, alive)
    return [PeerLoad(row.id, row.busy) for row in session.execute(query)]


def is_alive(session: Session, name: str, seconds: float) -> bool:
    """Whether a process of that name has given a sign of life in the last `seconds`."""
    recent = ProcessRow.seen_at > func.clock_timestamp() - timedelta(seconds=seconds)
    return session.scalar(select(ProcessRow.id).where(ProcessRow.name == name, recent).limit(1)) is not None


def _in(seconds: float) -> ColumnElement[datetime]:
    """`seconds` from now by the database's clock, also in a transaction that waited."""
    return func.clock_timestamp() + literal(timedelta(seconds=seconds), Interval)

"""Which collector reads which connector: leases that end by Postgres' clock, shared out evenly.

A lease is a row with a holder, an end and an epoch. Its holder puts the end off again and again; when it does not,
because it was killed or cut off, another takes the lease once it has ended. Taking raises the epoch, in the lease and
in the connector's position, so that a holder that comes back from the dead can move nothing (invariant 1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.registry.models import CollectorRow, ConnectorRow, LeaseRow, PositionRow

FORGOTTEN = timedelta(hours=1)
"""A collector that gave no sign of life for so long leaves the table."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a connector's lease: the collector's name ("host:process id"), and until when unless it is renewed."""

    collector: str
    epoch: int
    until: datetime


def beat(session: Session, me: str, name: str, scope: str) -> None:
    """A sign of life of the collector `me`; `scope` names the set of connectors that it and its like serve."""
    now = func.clock_timestamp()
    session.execute(delete(CollectorRow).where(CollectorRow.seen_at < now - FORGOTTEN))
    query = insert(CollectorRow).values(id=me, name=name, scope=scope)
    session.execute(query.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))


def renew(session: Session, me: str, held: Iterable[tuple[str, int]], seconds: float) -> set[str]:
    """Put off the end of leases, given as (connector, epoch); returns those that `me` still has.

    A lease that has ended but that nobody took is still ours. One that is being removed just now is not waited for.
    """
    free_now = (
        select(LeaseRow.connector)
        .where(LeaseRow.holder == me, tuple_(LeaseRow.connector, LeaseRow.epoch).in_(list(held)))
        .with_for_update(skip_locked=True)
    )
    query = update(LeaseRow).where(LeaseRow.connector.in_(free_now.scalar_subquery())).values(until=_in(seconds))
    unsynchronised = query.returning(LeaseRow.connector).execution_options(synchronize_session=False)
    return set(session.execute(unsynchronised).scalars())


def share(session: Session, me: str, scope: str, connectors: int, seconds: float) -> int:
    """How many of `connectors` the collector `me` should hold, beside all others of its scope that live.

    The shares add up to `connectors`; those who came first have one more where it does not divide.
    """
    alive = CollectorRow.seen_at > func.clock_timestamp() - timedelta(seconds=seconds)
    query = select(CollectorRow.id).where(CollectorRow.scope == scope, alive | (CollectorRow.id == me))
    ids = session.scalars(query.order_by(CollectorRow.started_at, CollectorRow.id)).all()
    each, rest = divmod(connectors, len(ids))
    return each + (ids.index(me) < rest)


def take(session: Session, me: str, requested: Sequence[str], room: int, seconds: float) -> dict[str, int]:
    """Take at most `room` free leases of the connectors `requested` that are to run; their epochs by connector."""
    if room <= 0 or not requested:
        return {}
    free = or_(
        LeaseRow.connector.is_(None),
        LeaseRow.holder.is_(None),
        LeaseRow.holder == me,
        LeaseRow.until <= func.clock_timestamp(),
    )
    candidates = (
        select(ConnectorRow.name)
        .outerjoin(LeaseRow, LeaseRow.connector == ConnectorRow.name)
        .where(ConnectorRow.name.in_(requested), ConnectorRow.state == "running", free)
        .order_by(func.random())
        .limit(room)
        .with_for_update(of=ConnectorRow, key_share=True, read=True, skip_locked=True)
    )
    names = sorted(session.scalars(candidates))  # in one order: two collectors never wait for each other
    taken = {name: epoch for name in names if (epoch := _take(session, me, name, seconds)) is not None}
    for name, epoch in taken.items():
        session.execute(update(PositionRow).where(PositionRow.connector == name).values(epoch=epoch))
    return taken


def _take(session: Session, me: str, name: str, seconds: float) -> int | None:
    """The new epoch, or None when another was faster."""
    query = insert(LeaseRow).values(connector=name, holder=me, epoch=1, until=_in(seconds))
    still_free = or_(LeaseRow.holder.is_(None), LeaseRow.holder == me, LeaseRow.until <= func.clock_timestamp())
    taking = query.on_conflict_do_update(
        index_elements=["connector"],
        set_={"holder": me, "epoch": LeaseRow.epoch + 1, "until": _in(seconds)},
        where=still_free,
    )
    return session.execute(taking.returning(LeaseRow.epoch)).scalar_one_or_none()


def release(session: Session, me: str, name: str, epoch: int) -> None:
    """Let go of a lease, so that another can take it at once; harmless when it is gone already."""
    ours = (LeaseRow.connector == name, LeaseRow.holder == me, LeaseRow.epoch == epoch)
    session.execute(update(LeaseRow).where(*ours).values(holder=None, until=func.clock_timestamp()))


def leave(session: Session, me: str) -> None:
    """The collector `me` ends: let go of all that it has, and of its share."""
    session.execute(update(LeaseRow).where(LeaseRow.holder == me).values(holder=None, until=func.clock_timestamp()))
    session.execute(delete(CollectorRow).where(CollectorRow.id == me))


def holders(session: Session, names: Collection[str] | None = None) -> dict[str, Holder]:
    """Who holds which connector now, of all or of `names`; one that nobody holds is not in it."""
    query = (
        select(LeaseRow.connector, CollectorRow.name, LeaseRow.epoch, LeaseRow.until)
        .join(CollectorRow, CollectorRow.id == LeaseRow.holder)
        .where(LeaseRow.until > func.clock_timestamp())
    )
    if names is not None:
        query = query.where(LeaseRow.connector.in_(names))
    return {row.connector: Holder(row.name, row.epoch, row.until) for row in session.execute(query)}


def _in(seconds: float) -> ColumnElement[datetime]:
    """`seconds` from now by the database's clock, also in a transaction that waited."""
    return func.clock_timestamp() + literal(timedelta(seconds=seconds), Interval)

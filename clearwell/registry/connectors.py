"""Connectors in the registry: which there are, and how they are doing. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from sqlalchemy import BigInteger, Float, String, cast, column, delete, func, select, update, values
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry import audit, leases
from clearwell.registry.models import ConnectorRow, PositionRow


class State(StrEnum):
    """running: a collector reads it, or waits for its next try. failing: someone must mend it, then resume."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILING = "failing"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a connector may do at most. `events_per_second` is an average over a few seconds; None: no limit."""

    events_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None


@dataclass(frozen=True, slots=True)
class ConnectorFigures:
    """`rate`: events a second over the last minute. The lag is what the source says, None where it can't tell."""

    rate: float = 0.0
    lag_events: int | None = None
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Connector:
    """A registered connector. `config` holds references, never secrets (invariant 10).

    `restarts` grows with each `restart`, so that whoever reads it knows to begin anew.
    """

    name: str
    source: str
    stream: str
    config: Mapping[str, Any]
    state: State
    last_error: str | None
    next_try_at: datetime | None
    created_at: datetime
    updated_at: datetime
    limits: Limits
    restarts: int
    figures: ConnectorFigures = ConnectorFigures()


NO_LIMITS = Limits()


def add(
    session: Session, name: str, source: str, stream: str, config: Mapping[str, Any], limits: Limits = NO_LIMITS
) -> bool:
    """Register a new connector, running, at the beginning of its source.

    False when another has done so meanwhile: nothing was changed then.
    """
    kept = msgspec.to_builtins(limits)
    query = insert(ConnectorRow).values(
        name=name, source=source, stream=stream, config=dict(config), state=State.RUNNING, limits=kept
    )
    if session.execute(query.on_conflict_do_nothing().returning(ConnectorRow.name)).first() is None:
        return False
    session.add(PositionRow(connector=name, version=0, position=None, events=0))
    detail = {"source": source, "stream": stream, "config": dict(config), "limits": kept}
    audit.record(session, "register", target(name), detail)
    return True


def change(
    session: Session, name: str, config: Mapping[str, Any], differences: list[str], limits: Limits = NO_LIMITS
) -> None:
    """Replace a connector's configuration and limits and set it running again, unless a person paused it.

    Its position stays.
    """
    kept = msgspec.to_builtins(limits)
    state = State.PAUSED if get(session, name).state is State.PAUSED else State.RUNNING
    _update(session, name, config=dict(config), limits=kept, state=state, last_error=None, next_try_at=None)
    audit.record(session, "change", target(name), {"differences": differences})


def find(session: Session, name: str, *, for_update: bool = False) -> Connector | None:
    """The connector called `name`, or None; `for_update`: nobody else changes it before the transaction ends."""
    row = session.get(ConnectorRow, name, with_for_update=for_update or None)
    return None if row is None else _connector(row)


def get(session: Session, name: str, *, for_update: bool = False) -> Connector:
    """As `find`. Raises ConfigError with the nearest name when there is none."""
    connector = find(session, name, for_update=for_update)
    if connector is None:
        known = session.scalars(select(ConnectorRow.name)).all()
        raise ConfigError(
            f'There is no connector "{name}".{nearest(name, known)}',
            code="no_such_connector",
            hint=Hint("connectors.list"),
        )
    return connector


def list_connectors(session: Session) -> list[Connector]:
    """All connectors by name."""
    return [_connector(row) for row in session.scalars(select(ConnectorRow).order_by(ConnectorRow.name))]


def set_state(session: Session, name: str, state: State, action: str) -> None:
    """Pause or resume on a person's word; what went wrong before is forgotten."""
    get(session, name)
    _update(session, name, state=state, last_error=None, next_try_at=None)
    audit.record(session, action, target(name))


def restart(session: Session, name: str) -> None:
    """Have a connector begin anew at once, from its position."""
    get(session, name)
    more = ConnectorRow.restarts + 1
    _update(session, name, state=State.RUNNING, last_error=None, next_try_at=None, restarts=more)
    audit.record(session, "restart", target(name))


def remove(session: Session, name: str) -> None:
    """Forget a connector and its position; what it brought into Kafka stays."""
    get(session, name)
    session.execute(delete(ConnectorRow).where(ConnectorRow.name == name))
    leases.forget(session, [name])
    audit.record(session, "remove", target(name))


def report(session: Session, figures: Mapping[str, ConnectorFigures]) -> None:
    """A collector says how connectors do, all in one statement.

    One that is being changed just now is passed over, until the next time: nobody waits for figures.
    """
    if not figures:
        return
    free = (
        select(ConnectorRow.name)
        .where(ConnectorRow.name.in_(figures))
        .with_for_update(key_share=True, skip_locked=True)
    )
    columns = (
        column("name", String),
        column("rate", Float),
        column("lag_events", BigInteger),
        column("lag_seconds", Float),
    )
    told = values(*columns, name="told").data(
        [(name, now.rate, now.lag_events, now.lag_seconds) for name, now in figures.items()]
    )
    query = update(ConnectorRow).where(ConnectorRow.name == told.c.name, ConnectorRow.name.in_(free.scalar_subquery()))
    session.execute(
        query.values(
            rate=cast(told.c.rate, Float),  # a column that is all null has no type of its own
            lag_events=cast(told.c.lag_events, BigInteger),
            lag_seconds=cast(told.c.lag_seconds, Float),
        ),
        execution_options={"synchronize_session": False},
    )


def note_trouble(session: Session, name: str, error: str, next_try_at: datetime) -> None:
    """A passing failure: the collector tries again at `next_try_at`."""
    _update(session, name, while_running=True, last_error=error, next_try_at=next_try_at)


def note_progress(session: Session, name: str) -> None:
    """All is well again."""
    _update(session, name, while_running=True, last_error=None, next_try_at=None)


def note_end(session: Session, name: str, state: State, error: str | None = None) -> None:
    """The collector stops reading: the source is exhausted, or someone must mend `error`.

    A connector that a person paused or removed meanwhile stays so.
    """
    _update(session, name, while_running=True, state=state, last_error=error, next_try_at=None)


def _update(session: Session, name: str, *, while_running: bool = False, **values: Any) -> None:
    query = update(ConnectorRow).where(ConnectorRow.name == name)
    if while_running:
        query = query.where(ConnectorRow.state == State.RUNNING)
    if isinstance(values.get("last_error"), str):
        values["last_error"] = values["last_error"].replace("\0", "").encode(errors="backslashreplace").decode()
    session.execute(query.values(updated_at=func.now(), **values))


def _connector(row: ConnectorRow) -> Connector:
    return Connector(
        name=row.name,
        source=row.source,
        stream=row.stream,
        config=row.config,
        state=State(row.state),
        last_error=row.last_error,
        next_try_at=row.next_try_at,
        limits=msgspec.convert(row.limits, Limits),
        restarts=row.restarts,
        figures=ConnectorFigures(row.rate, row.lag_events, row.lag_seconds),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def target(name: str) -> str:
    """What the audit calls the connector `name`."""
    return f"connector/{name}"

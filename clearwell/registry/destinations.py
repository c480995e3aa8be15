"""Registered destinations: those beside the platform's own. All functions work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry import audit
from clearwell.registry.models import DestinationRow


class RegisteredDestination(msgspec.Struct, frozen=True):
    """A destination as a contract's route names it; `config` holds references, never secrets (invariant 10)."""

    destination: str
    config: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


def add(session: Session, kind: str, name: str, config: Mapping[str, Any]) -> bool:
    """Register a new destination; False when another has done so meanwhile: nothing was changed then."""
    query = insert(DestinationRow).values(kind=kind, name=name, config=dict(config)).on_conflict_do_nothing()
    if session.execute(query.returning(DestinationRow.name)).first() is None:
        return False
    audit.record(session, "register", target(kind, name), {"config": dict(config)})
    return True


def change(session: Session, kind: str, name: str, config: Mapping[str, Any]) -> None:
    """Replace a destination's configuration; deliverers take it with their next start."""
    row = _row(session, kind, name)
    row.config = dict(config)
    row.updated_at = session.scalar(select(func.now())) or row.updated_at
    audit.record(session, "change", target(kind, name), {"config": dict(config)})


def remove(session: Session, kind: str, name: str) -> None:
    """Forget a destination; what it holds stays."""
    _row(session, kind, name)
    session.execute(delete(DestinationRow).where(DestinationRow.kind == kind, DestinationRow.name == name))
    audit.record(session, "remove", target(kind, name))


def find(session: Session, kind: str, name: str, *, for_update: bool = False) -> RegisteredDestination | None:
    """The destination, or None; `for_update`: nobody else changes it before the transaction ends."""
    row = session.get(DestinationRow, (kind, name), with_for_update=for_update or None)
    return None if row is None else _destination(row)


def get(session: Session, kind: str, name: str, *, for_update: bool = False) -> RegisteredDestination:
    """As `find`. Raises ConfigError with the nearest name when there is none."""
    return _destination(_row(session, kind, name, for_update=for_update))


def list_destinations(session: Session) -> list[RegisteredDestination]:
    """All destinations by kind and name."""
    rows = session.scalars(select(DestinationRow).order_by(DestinationRow.kind, DestinationRow.name))
    return [_destination(row) for row in rows]


def target(kind: str, name: str) -> str:
    """What the audit calls a destination."""
    return f"destination/{kind}.{name}"


def _row(session: Session, kind: str, name: str, *, for_update: bool = False) -> DestinationRow:
    row = session.get(DestinationRow, (kind, name), with_for_update=for_update or None)
    if row is None:
        known = [registered.destination for registered in list_destinations(session)]
        suggestion = nearest(f"{kind}.{name}", known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(
            f'No destination "{kind}.{name}" is registered.{suggestion}',
            code="no_such_destination",
            hint=Hint("destinations.register"),
        )
    return row


def _destination(row: DestinationRow) -> RegisteredDestination:
    return RegisteredDestination(f"{row.kind}.{row.name}", row.config, row.created_at, row.updated_at)

"""Registered destinations: which stores there are beside the platform's own. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, nearest
from clearwell.registry import audit
from clearwell.registry.models import DestinationRow


@dataclass(frozen=True, slots=True)
class Store:
    """A registered store, written "kind.name" in a route. `config` holds references, never secrets (invariant 10)."""

    kind: str
    name: str
    config: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime

    @property
    def to(self) -> str:
        """As a contract's route names it."""
        return f"{self.kind}.{self.name}"


def add(session: Session, kind: str, name: str, config: Mapping[str, Any]) -> None:
    """Register a new store."""
    session.add(DestinationRow(kind=kind, name=name, config=dict(config)))
    session.flush()
    audit.record(session, "add", f"destination/{kind}.{name}", {"config": dict(config)})


def change(session: Session, kind: str, name: str, config: Mapping[str, Any]) -> None:
    """Replace a store's configuration; deliverers take it with their next start."""
    row = _row(session, kind, name)
    row.config = dict(config)
    row.updated_at = session.scalar(select(func.now())) or row.updated_at
    audit.record(session, "change", f"destination/{kind}.{name}", {"config": dict(config)})


def remove(session: Session, kind: str, name: str) -> None:
    """Forget a store; what is in it stays."""
    _row(session, kind, name)
    session.execute(delete(DestinationRow).where(DestinationRow.kind == kind, DestinationRow.name == name))
    audit.record(session, "remove", f"destination/{kind}.{name}")


def find(session: Session, kind: str, name: str) -> Store | None:
    """The store, None when there is none."""
    row = session.get(DestinationRow, (kind, name))
    return None if row is None else _store(row)


def get(session: Session, kind: str, name: str) -> Store:
    """The store. Raises ConfigError with the nearest name."""
    return _store(_row(session, kind, name))


def all_of(session: Session) -> list[Store]:
    """Every store, by kind and name."""
    return [
        _store(row)
        for row in session.scalars(select(DestinationRow).order_by(DestinationRow.kind, DestinationRow.name))
    ]


def _row(session: Session, kind: str, name: str) -> DestinationRow:
    row = session.get(DestinationRow, (kind, name))
    if row is None:
        known = [one.to for one in all_of(session)]
        hint = nearest(f"{kind}.{name}", known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(
            f'No destination "{kind}.{name}" is registered.{hint} `clearwell destination add` registers one.'
        )
    return row


def _store(row: DestinationRow) -> Store:
    return Store(row.kind, row.name, row.config, row.created_at, row.updated_at)

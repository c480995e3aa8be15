"""How far each connector's events are durable in Kafka (invariant 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Fenced
from clearwell.registry.models import PositionRow


@dataclass(frozen=True, slots=True)
class SavedPosition:
    """`position` is None at the beginning; `version` grows with each save; `events` counts acknowledged events."""

    version: int
    position: Mapping[str, Any] | None
    events: int
    updated_at: datetime


def load(session: Session, connector: str) -> SavedPosition:
    """The position of a connector. Raises Fenced when it was removed meanwhile."""
    row = session.get(PositionRow, connector)
    if row is None:
        raise Fenced(f"Connector {connector} was removed.")
    return SavedPosition(row.version, row.position, row.events, row.updated_at)


def load_all(session: Session) -> dict[str, SavedPosition]:
    """The positions of all connectors by name."""
    rows = session.scalars(select(PositionRow))
    return {row.connector: SavedPosition(row.version, row.position, row.events, row.updated_at) for row in rows}


def save(
    session: Session, connector: str, version: int, position: Mapping[str, Any], events: int, *, epoch: int = 0
) -> int:
    """Move a connector on from `version` by `events` acknowledged events; returns the new version.

    Raises Fenced when the position is no longer at `version`, since another collector or a person moved it, or when
    the lease of `epoch` (0: there never was one) has gone to another: a collector that was thought dead never moves a
    position (invariant 1). Version and epoch are in the row that is updated, so that nothing can come between.
    """
    more = PositionRow.events + events
    moved = _move(session, connector, version, {"position": dict(position), "events": more}, epoch)
    if moved is None:
        raise Fenced(f"The position of connector {connector} was moved by another collector or a person.")
    return moved


def count(session: Session, connector: str, events: int) -> None:
    """Count `events` more acknowledged events of a connector that is sent them: it has no position to move."""
    query = update(PositionRow).where(PositionRow.connector == connector)
    session.execute(query.values(events=PositionRow.events + events, updated_at=func.now()))


def move(session: Session, connector: str, version: int, position: Mapping[str, Any] | None) -> int:
    """Put a connector elsewhere on a person's word, None for the beginning; returns the new version.

    Raises ConfigError when the position is no longer at `version`.
    """
    moved = _move(session, connector, version, {"position": None if position is None else dict(position)})
    if moved is None:
        raise ConfigError(f'The position of connector "{connector}" has just moved: look at it again.')
    return moved


def _move(
    session: Session, connector: str, version: int, values: dict[str, Any], epoch: int | None = None
) -> int | None:
    """One guarded update; the new version, or None when the position is no longer at `version`, or at `epoch`."""
    guards = [PositionRow.connector == connector, PositionRow.version == version]
    query = (
        update(PositionRow)
        .where(*guards, *([] if epoch is None else [PositionRow.epoch == epoch]))
        .values(version=version + 1, updated_at=func.now(), **values)
        .returning(PositionRow.version)
        .execution_options(synchronize_session=False)
    )
    return session.execute(query).scalar_one_or_none()

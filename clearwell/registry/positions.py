"""How far each connector's events are durable in Kafka (invariant 1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Fenced
from clearwell.registry.models import PositionRow


@dataclass(frozen=True, slots=True)
class Counts:
    """A part of a connector's account: `events` that Kafka acknowledged, `refused` of them as dead letters.

    `read`, `held` and `passed_over` are as in `clearwell.source.Count`; `read` is None where the source does not count.
    """

    events: int = 0
    refused: int = 0
    read: int | None = None
    held: int | None = None
    passed_over: int | None = None

    def __add__(self, later: Counts) -> Counts:
        """This part and the one after it."""
        read = None if self.read is None or later.read is None else self.read + later.read
        held = self.held if later.held is None else later.held
        passed_over = self.passed_over if later.passed_over is None else later.passed_over
        return Counts(self.events + later.events, self.refused + later.refused, read, held, passed_over)

    def __sub__(self, earlier: Counts) -> Counts:
        """What came since then."""
        read = None if self.read is None or earlier.read is None else self.read - earlier.read
        events, refused = self.events - earlier.events, self.refused - earlier.refused
        return Counts(events, refused, read, self.held, self.passed_over)

    @property
    def accepted(self) -> int:
        """Events that are no dead letters yet."""
        return self.events - self.refused

    def difference(self, whole: bool = True) -> str | None:
        """One sentence where the source's count and the events of it differ (invariant 11); None where they agree.

        `whole`: the account began at the source's beginning.
        """
        if self.read is None:
            return None
        if self.read != self.events:
            apart, which = self.read - self.events, "missing" if self.read > self.events else "too many"
            return (
                f"The source read {self.read:,} items, but {self.events:,} events were made of them "
                f"({self.accepted:,} accepted, {self.refused:,} refused): {abs(apart):,} are {which}."
            )
        if whole and self.held is not None and self.held > self.read:
            return (
                f"The source holds {self.held:,} items, but {self.read:,} were read: {self.held - self.read:,} "
                "are missing, such as those written behind the position; reset the connector to read all again."
            )
        return None


NOTHING = Counts(read=0)
"""Where an account begins."""


@dataclass(frozen=True, slots=True)
class SavedPosition:
    """`position` is None at the beginning; `version` grows with each save.

    `counts` is the account since the position was last moved by a person; `whole`: it began at the source's beginning.
    """

    version: int
    position: Mapping[str, Any] | None
    updated_at: datetime
    counts: Counts = Counts()
    whole: bool = True

    @property
    def events(self) -> int:
        """Acknowledged events."""
        return self.counts.events

    def difference(self) -> str | None:
        """One sentence where the source's count and the events of it differ (invariant 11); None where they agree."""
        return self.counts.difference(self.whole)


def load(session: Session, connector: str) -> SavedPosition:
    """The position of a connector. Raises Fenced when it was removed meanwhile."""
    row = session.get(PositionRow, connector)
    if row is None:
        raise Fenced(f"Connector {connector} was removed.")
    return _saved(row)


def load_all(session: Session) -> dict[str, SavedPosition]:
    """The positions of all connectors by name."""
    return {row.connector: _saved(row) for row in session.scalars(select(PositionRow))}


def event_counts(session: Session, connectors: Collection[str]) -> dict[str, int]:
    """How many events of these connectors Kafka has acknowledged, as far as it is saved; of those that are there."""
    query = select(PositionRow.connector, PositionRow.events).where(PositionRow.connector.in_(connectors))
    return {row.connector: row.events for row in session.execute(query)}


def save(
    session: Session,
    connector: str,
    version: int,
    position: Mapping[str, Any] | None,
    counts: Counts,
    *,
    epoch: int = 0,
) -> int:
    """Move a connector on from `version` by `counts`, in the same transaction; returns the new version.

    `position` is None while the source is still at its beginning.

    Raises Fenced when the position is no longer at `version`, since another collector or a person moved it, or when
    the lease of `epoch` (0: there never was one) has gone to another: a collector that was thought dead never moves a
    position (invariant 1). Version and epoch are in the row that is updated, so that nothing can come between.
    """
    moved = _move(session, connector, version, _place(position) | _more(counts), epoch)
    if moved is None:
        raise Fenced(f"The position of connector {connector} was moved by another collector or a person.")
    return moved


def count(session: Session, connector: str, counts: Counts) -> None:
    """Count more acknowledged events of a connector that is sent them: it has no position to move."""
    query = update(PositionRow).where(PositionRow.connector == connector)
    session.execute(query.values(updated_at=func.now(), **_more(counts)))


def move(session: Session, connector: str, version: int, position: Mapping[str, Any] | None) -> int:
    """Put a connector elsewhere on a person's word, None for the beginning; returns the new version.

    Its account begins anew there. Raises ConfigError when the position is no longer at `version`.
    """
    anew = {"events": 0, "refused": 0, "read": 0, "held": None, "passed_over": None, "whole": position is None}
    moved = _move(session, connector, version, _place(position) | anew)
    if moved is None:
        raise ConfigError(f'The position of connector "{connector}" has just moved: look at it again.')
    return moved


def _saved(row: PositionRow) -> SavedPosition:
    counts = Counts(row.events, row.refused, row.read, row.held, row.passed_over)
    return SavedPosition(row.version, row.position, row.updated_at, counts, row.whole)


def _place(position: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"position": None if position is None else dict(position)}


def _more(counts: Counts) -> dict[str, Any]:
    """What the account becomes by `counts`; a null `read` stays one: something was not counted."""
    return {
        "events": PositionRow.events + counts.events,
        "refused": PositionRow.refused + counts.refused,
        "read": None if counts.read is None else PositionRow.read + counts.read,
        "held": func.coalesce(counts.held, PositionRow.held),
        "passed_over": func.coalesce(counts.passed_over, PositionRow.passed_over),
    }


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

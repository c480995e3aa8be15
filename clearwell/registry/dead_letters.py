"""Dead letters: which there are. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Hint, nearest
from clearwell.records.dead_letter import DeadLetter
from clearwell.registry.models import DeadLetterRow


class DeadLetterState(StrEnum):
    """What became of a dead letter.

    waiting: for a person. fixed: changed, not sent yet. replayed: sent, and not rejected again so far. discarded: its
    event is gone. parked: left alone, by a person or after too many attempts.
    """

    WAITING = "waiting"
    FIXED = "fixed"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    PARKED = "parked"


OPEN = (DeadLetterState.WAITING, DeadLetterState.FIXED)
"""What still asks for a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredDeadLetter(DeadLetter):
    """A dead letter, and what the registry knows of it besides; its event stays there."""

    id: int
    ours: bool
    size: int
    has_event: bool
    is_fixed: bool
    dead_topic_id: str
    dead_offset: int
    rejected_at: datetime
    first_seen: datetime
    last_seen: datetime
    state: DeadLetterState
    attempts: int
    most_attempts: int
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant; what is None does not matter. `destination` "" means rejected raw events."""

    ids: Sequence[int] = ()
    stream: str | None = None
    reason: str | None = None
    step: str | None = None
    destination: str | None = None
    states: Sequence[DeadLetterState] = ()
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a WHERE."""
        row = DeadLetterRow
        exact = ((row.stream, self.stream), (row.step, self.step), (row.destination, self.destination))
        conditions: list[ColumnElement[bool]] = [column == value for column, value in exact if value is not None]
        if self.reason is not None:
            conditions.append(row.reason.icontains(self.reason, autoescape=True))
        if self.states:
            conditions.append(row.state.in_(self.states))
        if self.since is not None:
            conditions.append(row.rejected_at >= self.since)
        if self.until is not None:
            conditions.append(row.rejected_at < self.until)
        if self.ids:
            conditions.append(row.id.in_(self.ids))
        return conditions


def find(
    session: Session, selection: DeadLetterFilter, limit: int | None = None, *, newest: bool = False
) -> list[RegisteredDeadLetter]:
    """The dead letters that `selection` means, by id. Raises ConfigError for an id that is not there."""
    order = DeadLetterRow.id.desc() if newest else DeadLetterRow.id
    rows = session.execute(_columns().where(*selection.conditions()).order_by(order).limit(limit)).all()
    letters = [RegisteredDeadLetter(**{**row._mapping, "state": DeadLetterState(row.state)}) for row in rows]
    missing = set(selection.ids) - {letter.id for letter in letters}
    if missing and len(selection.conditions()) == 1:
        refuse_missing(session, sorted(missing))
    return letters


def get(session: Session, id_: int) -> RegisteredDeadLetter:
    """One dead letter. Raises ConfigError when there is none."""
    return find(session, DeadLetterFilter(ids=[id_]))[0]


def require_known(session: Session, selection: DeadLetterFilter) -> None:
    """Raise ConfigError, with the nearest spelling, for a stream, reason, step or destination that none has."""
    row = DeadLetterRow
    names = {
        "stream": (row.stream, selection.stream, False),
        "reason": (row.reason, selection.reason, True),
        "step": (row.step, selection.step, False),
        "destination": (row.destination, selection.destination or None, False),
    }
    for name, (column, value, is_part) in names.items():
        if value is None:
            continue
        known = [text for text in session.scalars(select(column).distinct().limit(1_000)) if text]
        if not any(value.lower() in text.lower() if is_part else value == text for text in known):
            suggestion = nearest(value, known) or f" There are: {'; '.join(sorted(known)[:20]) or 'none'}."
            raise ConfigError(f'No dead letter has the {name} "{value}".{suggestion}', code="no_dead_letter_has")


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """How many dead letters share a stream, destination, step, reason and state."""

    stream: str
    destination: str
    step: str
    reason: str
    state: DeadLetterState
    letters: int
    oldest: datetime
    newest: datetime


def count(session: Session, selection: DeadLetterFilter) -> list[DeadLetterCount]:
    """The counts, largest first."""
    row = DeadLetterRow
    alike = (row.stream, row.destination, row.step, row.reason, row.state)
    number = func.count()
    query = (
        select(*alike, number, func.min(row.rejected_at), func.max(row.rejected_at))
        .where(*selection.conditions())
        .group_by(*alike)
        .order_by(number.desc(), *alike)
    )
    return [DeadLetterCount(*part[:4], DeadLetterState(part[4]), *part[5:]) for part in session.execute(query)]


def refused_by_destinations(session: Session) -> dict[str, int]:
    """By stream, how many events destinations have refused; streams without are left out."""
    row = DeadLetterRow
    query = select(row.stream, func.count()).where(row.destination != "").group_by(row.stream)
    return {row[0]: row[1] for row in session.execute(query)}


def delivered(session: Session, stream: str, destination: str, clean_topic_id: str) -> frozenset[tuple[int, int]]:
    """Partition and clean offset of the dead letters of one destination whose replay it took."""
    row = DeadLetterRow
    query = select(row.raw_partition, row.clean_offset).where(
        row.stream == stream,
        row.destination == destination,
        row.clean_topic_id == clean_topic_id,
        row.state == DeadLetterState.REPLAYED,
    )
    return frozenset((partition, offset) for partition, offset in session.execute(query) if offset is not None)


def refuse_missing(session: Session, ids: Sequence[int]) -> NoReturn:
    """Raises the ConfigError that dead letters are not there."""
    last = session.scalar(select(func.max(DeadLetterRow.id)))
    known = "there is none yet" if last is None else f"the newest is {last}"
    raise ConfigError(
        f"There is no dead letter {', '.join(map(str, ids[:10]))}; {known}.",
        code="no_such_dead_letter",
        hint=Hint("dead_letters.list"),
    )


def _columns() -> Select[Any]:
    row = DeadLetterRow
    derived = {"has_event": row.sealed.is_not(None), "is_fixed": row.fixed.is_not(None)}
    plain = [getattr(row, field.name) for field in fields(RegisteredDeadLetter) if field.name not in derived]
    return select(*plain, *(condition.label(name) for name, condition in derived.items()))

"""Dead letters: which there are. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, nearest
from clearwell.registry.models import DeadLetterRow


class LetterState(StrEnum):
    """What became of a letter.

    waiting: for a person. fixed: mended, not sent yet. replayed: sent, and not rejected again so far. dropped: given
    up, its event is gone. parked: left alone, by a person or after too many attempts.
    """

    WAITING = "waiting"
    FIXED = "fixed"
    REPLAYED = "replayed"
    DROPPED = "dropped"
    PARKED = "parked"


OPEN = (LetterState.WAITING, LetterState.FIXED)
"""What still asks for a decision."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without its event. `destination` is "" for a rejected event."""

    id: int
    stream: str
    destination: str
    raw_topic: str
    raw_partition: int
    raw_offset: int
    ours: bool
    reason: str
    step: str
    field: str
    version: int
    size: int
    has_event: bool
    is_fixed: bool
    dead_topic: str
    dead_partition: int
    dead_offset: int
    clean_topic: str | None
    clean_partition: int | None
    clean_offset: int | None
    rejected_at: datetime
    first_seen: datetime
    last_seen: datetime
    state: LetterState
    attempts: int
    most_attempts: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; what is None does not matter. `destination` "" means the rejected ones."""

    stream: str | None = None
    reason: str | None = None
    step: str | None = None
    destination: str | None = None
    states: Sequence[LetterState] = ()
    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[int] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a WHERE."""
        row = DeadLetterRow
        exact = ((row.stream, self.stream), (row.step, self.step), (row.destination, self.destination))
        found: list[ColumnElement[bool]] = [column == value for column, value in exact if value is not None]
        if self.reason is not None:
            found.append(row.reason.icontains(self.reason, autoescape=True))
        if self.states:
            found.append(row.state.in_(self.states))
        if self.since is not None:
            found.append(row.rejected_at >= self.since)
        if self.until is not None:
            found.append(row.rejected_at < self.until)
        if self.ids:
            found.append(row.id.in_(self.ids))
        return found


def find(session: Session, wanted: Filter, limit: int | None = None, *, newest: bool = False) -> list[Letter]:
    """The letters that `wanted` means, by id. Raises ConfigError for an id that is not there."""
    order = DeadLetterRow.id.desc() if newest else DeadLetterRow.id
    rows = session.execute(_columns().where(*wanted.conditions()).order_by(order).limit(limit)).all()
    found = [_letter(row) for row in rows]
    missing = set(wanted.ids) - {one.id for one in found}
    if missing and len(wanted.conditions()) == 1:
        missing_letters(session, sorted(missing))
    return found


def get(session: Session, letter: int) -> Letter:
    """One letter. Raises ConfigError when there is none."""
    return find(session, Filter(ids=[letter]))[0]


def check(session: Session, wanted: Filter) -> None:
    """Raises ConfigError, with the nearest spelling, for a stream, reason, step or destination that no letter has."""
    row = DeadLetterRow
    given = {
        "stream": (row.stream, wanted.stream, False),
        "reason": (row.reason, wanted.reason, True),
        "step": (row.step, wanted.step, False),
        "destination": (row.destination, wanted.destination or None, False),
    }
    for name, (column, value, part) in given.items():
        if value is None:
            continue
        known = [one for one in session.scalars(select(column).distinct().limit(1_000)) if one]
        if not any(value.lower() in one.lower() if part else value == one for one in known):
            hint = nearest(value, known) or f" There are: {'; '.join(sorted(known)[:20]) or 'none'}."
            raise ConfigError(f'No dead letter has the {name} "{value}".{hint}')


@dataclass(frozen=True, slots=True)
class Count:
    """How many letters share a stream, destination, step, reason and state."""

    stream: str
    destination: str
    step: str
    reason: str
    state: LetterState
    letters: int
    oldest: datetime
    newest: datetime


def stats(session: Session, wanted: Filter) -> list[Count]:
    """The counts, largest first."""
    row = DeadLetterRow
    alike = (row.stream, row.destination, row.step, row.reason, row.state)
    number = func.count()
    query = (
        select(*alike, number, func.min(row.rejected_at), func.max(row.rejected_at))
        .where(*wanted.conditions())
        .group_by(*alike)
        .order_by(number.desc(), *alike)
    )
    return [Count(*one[:4], LetterState(one[4]), *one[5:]) for one in session.execute(query)]


def delivered(session: Session, stream: str, destination: str, clean_topic: str) -> frozenset[tuple[int, int]]:
    """Clean partition and offset of the letters of one destination whose replay it took."""
    row = DeadLetterRow
    query = select(row.clean_partition, row.clean_offset).where(
        row.stream == stream,
        row.destination == destination,
        row.clean_topic == clean_topic,
        row.state == LetterState.REPLAYED,
    )
    places = session.execute(query).all()
    return frozenset((one[0], one[1]) for one in places if one[0] is not None and one[1] is not None)


def _columns() -> Select[Any]:
    row = DeadLetterRow
    found = {name: getattr(row, name) for name in Letter.__slots__ if name not in ("has_event", "is_fixed")}
    return select(*found.values(), row.sealed.is_not(None).label("has_event"), row.fixed.is_not(None).label("is_fixed"))


def _letter(row: Any) -> Letter:
    values: Mapping[str, Any] = row._mapping
    return Letter(**{name: values[name] for name in Letter.__slots__ if name != "state"}, state=LetterState(row.state))


def missing_letters(session: Session, letters: Sequence[int]) -> NoReturn:
    """Raises the ConfigError that letters are not there."""
    last = session.scalar(select(func.max(DeadLetterRow.id)))
    known = "there is none yet" if last is None else f"the newest is {last}"
    raise ConfigError(
        f"There is no dead letter {', '.join(map(str, letters[:10]))}; {known}: see `clearwell dead list`."
    )

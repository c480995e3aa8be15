"""What a person decides about dead letters, audited. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError
from clearwell.registry import audit
from clearwell.registry.dead_letters import OPEN, LetterState, missing_letters
from clearwell.registry.models import DeadLetterRow, DeadReplayRow

AT_ONCE = 2_000
"""Letters in one statement: their envelopes are in memory then."""


def sealed(session: Session, letter: int) -> tuple[str | None, str | None]:
    """(as it came, as it was fixed): the envelopes of a letter's event, None where there is none (any more)."""
    row = _row(session, letter)
    return row.sealed, row.fixed


def fix(session: Session, letter: int, fixed: str | None, version: int, fields: Sequence[str]) -> None:
    """Keep the mended event, sealed (None: as it came), and that contract `version` takes it.

    `fields` are the declared names that were changed, for the audit. Raises ConfigError when it is not open any more.
    """
    row = _row(session, letter)
    _require_idle(session, [letter])
    if row.state not in OPEN:
        raise ConfigError(f"Dead letter {letter} is {row.state}, so it can't be fixed{_way_back(row)}.")
    row.fixed = fixed if fixed is not None else row.fixed
    row.version = version
    _move(row, LetterState.FIXED)
    audit.record(session, "fix", _target(row.stream, letter), {"fields": list(fields), "version": version})


def drop(session: Session, letters: Sequence[int]) -> int:
    """Delete the events of letters and keep their lines; returns how many had one. A replayed one stays replayed."""
    return _each(session, letters, "drop", _drop)


def park(session: Session, letters: Sequence[int]) -> int:
    """Leave letters alone from now on; returns how many were not so already."""
    return _each(session, letters, "park", _park)


def release(session: Session, letters: Sequence[int]) -> int:
    """Let parked letters wait again, their attempts forgotten; returns how many were parked."""
    return _each(session, letters, "release", _release)


def _each(session: Session, letters: Sequence[int], action: str, change: Callable[[DeadLetterRow], bool]) -> int:
    changed: dict[str, list[int]] = {}
    for start in range(0, len(letters), AT_ONCE):
        some = letters[start : start + AT_ONCE]
        query = select(DeadLetterRow).where(DeadLetterRow.id.in_(some)).order_by(DeadLetterRow.id).with_for_update()
        rows = session.scalars(query).all()
        _require_idle(session, some)  # behind the locks: no replay begins any more
        for row in rows:
            if change(row):
                changed.setdefault(row.stream, []).append(row.id)
        session.flush()
        session.expunge_all()  # events may be large
    for stream, ids in changed.items():
        audit.record(session, action, f"dead/{stream}", {"letters": ids})
    return sum(map(len, changed.values()))


def _way_back(row: DeadLetterRow) -> str:
    waits = row.state == LetterState.PARKED and row.sealed is not None
    return f": `clearwell dead release {row.id}` lets it wait again" if waits else ""


def _drop(row: DeadLetterRow) -> bool:
    had = row.state != LetterState.DROPPED or row.sealed is not None
    row.sealed = row.fixed = None
    _move(row, LetterState.REPLAYED if row.state == LetterState.REPLAYED else LetterState.DROPPED)
    return had


def _park(row: DeadLetterRow) -> bool:
    return row.state in OPEN and _move(row, LetterState.PARKED)


def _release(row: DeadLetterRow) -> bool:
    if row.state != LetterState.PARKED or row.sealed is None:
        return False
    row.attempts = 0
    return _move(row, LetterState.WAITING if row.fixed is None else LetterState.FIXED)


def _move(row: DeadLetterRow, state: LetterState) -> bool:
    row.state = state
    row.changed_at = func.now()
    return True


def _require_idle(session: Session, letters: Sequence[int]) -> None:
    """Raises ConfigError while a replay of one of them is under way, or was broken off."""
    query = select(DeadReplayRow.letter).where(DeadReplayRow.letter.in_(letters), DeadReplayRow.sent_at.is_(None))
    busy = sorted(set(session.scalars(query)))
    if busy:
        raise ConfigError(
            f"A replay of dead letter {', '.join(map(str, busy[:10]))} is under way, or was broken off: "
            "`clearwell dead replay` finishes it first."
        )


def _row(session: Session, letter: int) -> DeadLetterRow:
    row = session.get(DeadLetterRow, letter, with_for_update=True)
    if row is None:
        missing_letters(session, [letter])
    return row


def _target(stream: str, letter: int) -> str:
    return f"dead/{stream}/{letter}"

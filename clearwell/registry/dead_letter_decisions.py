"""What a person decides about dead letters, as rows: locked, moved, audited. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Hint
from clearwell.registry import audit
from clearwell.registry.dead_letters import OPEN, DeadLetterState, RegisteredDeadLetter, refuse_missing
from clearwell.registry.models import DeadLetterReplayRow, DeadLetterRow

AT_ONCE = 2_000
"""Dead letters in one statement: their envelopes are in memory then."""


def envelope(session: Session, id_: int) -> str | None:
    """The event as it would be sent now, sealed; None where there is none (any more)."""
    row = session.get(DeadLetterRow, id_)
    return None if row is None else row.fixed or row.sealed


def fix(session: Session, letter: RegisteredDeadLetter, fixed: str | None, version: int, fields: Sequence[str]) -> None:
    """Keep the changed event, sealed (None: as it came), and that contract `version` takes it.

    `fields` are the declared names that were changed, for the audit. Raises ConfigError when it has changed meanwhile.
    """
    row = _row(session, letter.id)
    _require_idle(session, [letter.id])
    _require_unchanged(row, letter.changed_at, letter.state)
    row.fixed = fixed if fixed is not None else row.fixed
    row.version = version
    _move(row, DeadLetterState.FIXED)
    audit.record(session, "fix", target(row.stream, row.id), {"fields": list(fields), "version": version})


def discard(session: Session, letters: Sequence[RegisteredDeadLetter]) -> int:
    """Delete the events of dead letters and keep their lines; returns how many."""
    return _each(session, letters, "discard", _discard)


def park(session: Session, letters: Sequence[RegisteredDeadLetter]) -> int:
    """Leave dead letters alone from now on; returns how many."""
    return _each(session, letters, "park", lambda row: row.state in OPEN and _move(row, DeadLetterState.PARKED))


def reopen(session: Session, letters: Sequence[RegisteredDeadLetter]) -> int:
    """Let parked dead letters wait again, their attempts forgotten; returns how many had an event to wait with."""
    return _each(session, letters, "reopen", _reopen)


def target(stream: str, id_: int) -> str:
    """The name of a dead letter in the audit."""
    return f"dead-letter/{stream}/{id_}"


def _each(
    session: Session, letters: Sequence[RegisteredDeadLetter], action: str, change: Callable[[DeadLetterRow], bool]
) -> int:
    """Raises ConfigError where one has changed since it was looked at: then none is changed."""
    changed: dict[str, list[int]] = {}
    for start in range(0, len(letters), AT_ONCE):
        some = {letter.id: letter for letter in letters[start : start + AT_ONCE]}
        for row in _locked(session, some):
            if change(row):
                changed.setdefault(row.stream, []).append(row.id)
        session.flush()
        session.expunge_all()  # events may be large
    for stream, ids in changed.items():
        audit.record(session, action, f"dead-letter/{stream}", {"dead_letters": ids})
    return sum(map(len, changed.values()))


def _locked(session: Session, letters: Mapping[int, RegisteredDeadLetter]) -> Iterator[DeadLetterRow]:
    query = select(DeadLetterRow).where(DeadLetterRow.id.in_(letters)).order_by(DeadLetterRow.id).with_for_update()
    rows = session.scalars(query).all()
    _require_idle(session, list(letters))  # behind the locks: no replay begins any more
    for row in rows:
        _require_unchanged(row, letters[row.id].changed_at, letters[row.id].state)
        yield row


def _discard(row: DeadLetterRow) -> bool:
    row.sealed = row.fixed = None
    return _move(row, DeadLetterState.DISCARDED)


def _reopen(row: DeadLetterRow) -> bool:
    if row.sealed is None:
        return False
    row.attempts = 0
    return _move(row, DeadLetterState.WAITING if row.fixed is None else DeadLetterState.FIXED)


def _move(row: DeadLetterRow, state: DeadLetterState) -> bool:
    row.state = state
    row.changed_at = func.now()
    return True


def _require_unchanged(row: DeadLetterRow, changed_at: datetime, state: DeadLetterState) -> None:
    if row.changed_at != changed_at:
        raise ConfigError(
            f"Dead letter {row.id} has changed since this was planned: it was {state}, and is {row.state} since "
            f"{row.changed_at.isoformat(timespec='seconds')}. Nothing was done: look at it, and plan again.",
            code="plan_is_old",
            hint=Hint("dead_letters.show", str(row.id)),
        )


def _require_idle(session: Session, ids: Sequence[int]) -> None:
    """Raises ConfigError while a replay of one of them is under way, or was broken off."""
    row = DeadLetterReplayRow
    busy = sorted(
        set(session.scalars(select(row.dead_letter_id).where(row.dead_letter_id.in_(ids), row.sent_at.is_(None))))
    )
    if busy:
        raise ConfigError(
            f"A replay of dead letter {', '.join(map(str, busy[:10]))} is under way, or was broken off.",
            code="replay_unfinished",
            hint=Hint("dead_letters.replay"),
        )


def _row(session: Session, id_: int) -> DeadLetterRow:
    row = session.get(DeadLetterRow, id_, with_for_update=True)
    if row is None:
        refuse_missing(session, [id_])
    return row

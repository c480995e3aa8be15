"""Replays of dead letters: the intent before an event is sent, and what became of it. All in the caller's transaction.

An intent that was never completed is under way, or was broken off; which of both, its age says: whoever sends gives up
long before BROKEN_OFF has passed, so an older one is nobody's, and its event is where it went, or will never be.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, func, select, text, update
from sqlalchemy.orm import Session

from clearwell.errors import Retryable
from clearwell.registry import audit, dead_arrivals, dead_letters
from clearwell.registry.dead_letters import OPEN, Letter, LetterState
from clearwell.registry.models import DeadLetterRow, DeadReplayRow

BROKEN_OFF = timedelta(seconds=60)
"""Longer than SEND_WITHIN and Kafka's own retries (`kafka.producer.DELIVERY_SECONDS`) take together."""

SEND_WITHIN = 15.0
"""Seconds from the intent to the sending; whoever took longer must not send any more."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One replay of one letter; see DeadReplayRow. `envelope` holds the event that is meant."""

    id: int
    letter: int
    token: str
    topic_id: str
    partition: int
    after: int
    envelope: str


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay as people look at it."""

    started_at: datetime
    sent_at: datetime | None
    refused_at: datetime | None
    topic_id: str
    partition: int
    offset: int | None


def history(session: Session, letter: int) -> list[Replay]:
    """The replays of a letter, oldest first."""
    row = DeadReplayRow
    query = (
        select(row.started_at, row.sent_at, row.refused_at, row.topic_id, row.partition, row.sent)
        .where(row.letter == letter)
        .order_by(row.id)
    )
    return [Replay(*one) for one in session.execute(query)]


def begin(session: Session, letters: Sequence[Letter], topic_id: str, ends: Mapping[int, int]) -> list[Intent]:
    """Note that rejected events of one stream go to raw again.

    `ends` holds for each partition the offset that raw has not reached yet. Letters that are not open any more, or
    that somebody else replays, are left out.
    """
    dead_arrivals.lock(session.connection(), letters[0].stream)  # nobody else chooses the same ones
    rows = _open(session, [one.id for one in letters])
    return _note(session, rows, topic_id, {row.id: ends[row.raw_partition] for row in rows})


def take_turn(session: Session, stream: str, destination: str) -> None:
    """Hold off other replays of a stream until the end of the transaction: now the store may be claimed.

    Raises Retryable when a replay to that destination is under way, or was broken off and is not settled.
    """
    dead_arrivals.lock(session.connection(), stream)
    if unfinished(session, stream, destination):
        raise Retryable(f"Another replay to {destination} is under way: try again when it has ended.")


def begin_delivery(session: Session, letters: Sequence[Letter], topic_id: str, position: int) -> list[Intent]:
    """After `take_turn`: note that clean events of one partition go to one destination, which is at `position`.

    Each letter gets the position after it, in the order of `letters`; those that are not open any more are left out.
    """
    rows = {row.id: row for row in _open(session, [one.id for one in letters])}
    chosen = [rows[one.id] for one in letters if one.id in rows]
    return _note(session, chosen, topic_id, {row.id: position + at for at, row in enumerate(chosen, 1)})


def unfinished(session: Session, stream: str, destination: str | None = None) -> int:
    """How many replays of a stream (of one destination; "" for rejected events) are under way or were broken off."""
    return session.scalar(select(func.count()).select_from(_unfinished(stream, destination).subquery())) or 0


def broken_off(session: Session, stream: str) -> bool:
    """Whether `take_over` would take any."""
    return session.scalars(_broken_off(stream).limit(1)).first() is not None


def take_over(session: Session, stream: str) -> list[tuple[Letter, Intent]]:
    """The replays of a stream that were broken off; from now on they are the caller's, for BROKEN_OFF."""
    row = DeadReplayRow
    found = session.scalars(_broken_off(stream).with_for_update(of=row)).all()
    session.execute(update(row).where(row.id.in_([one.id for one in found])).values(started_at=func.now()))
    letters = dead_letters.find(session, dead_letters.Filter(ids=[one.letter for one in found])) if found else []
    by_id = {one.id: one for one in letters}
    return [(by_id[one.letter], _intent(one, "")) for one in found]


def complete(session: Session, stream: str, sent: Mapping[int, int]) -> None:
    """Intents whose event is durable, by id, and the offset it has (of a delivery: the position after it).

    A rejection that came in meanwhile as a letter of its own is counted as an attempt of the letter it belongs to.
    """
    dead_arrivals.lock(session.connection(), stream)
    row = DeadReplayRow
    found = session.scalars(select(row).where(row.id.in_(sent), row.sent_at.is_(None)).with_for_update()).all()
    for one in found:
        one.sent = sent[one.id]
        one.sent_at = func.now()
    letters = [one.letter for one in found]
    _move(session, letters, LetterState.REPLAYED)
    session.flush()
    if letters:
        audit.record(session, "replay", f"dead/{stream}", {"letters": sorted(letters)})
    for one in found:
        _join_rejection(session, stream, one)


def refuse(session: Session, stream: str, intent: Intent, reason: str, version: int) -> None:
    """A destination refused the event again, for `reason`."""
    dead_arrivals.lock(session.connection(), stream)
    session.execute(
        update(DeadReplayRow).where(DeadReplayRow.id == intent.id).values(sent_at=func.now(), refused_at=func.now())
    )
    _move(session, [intent.letter], LetterState.REPLAYED)
    dead_arrivals.count(session.connection(), intent.letter, reason, "deliver", "", version)
    audit.record(session, "replay", f"dead/{stream}", {"letters": [intent.letter], "refused": reason})


def forget(session: Session, intents: Sequence[int]) -> None:
    """Intents whose event was never sent: their letters are as they were."""
    session.execute(delete(DeadReplayRow).where(DeadReplayRow.id.in_(intents), DeadReplayRow.sent_at.is_(None)))


_REJECTION = text("""
DELETE FROM clearwell_registry.dead_letter
WHERE stream = :stream AND destination = '' AND raw_topic = :topic AND raw_partition = :partition
    AND raw_offset = :offset AND ours AND state = 'waiting' AND attempts = 0
RETURNING reason, step, field, version
""")


def _join_rejection(session: Session, stream: str, replay: DeadReplayRow) -> None:
    place = {"stream": stream, "topic": replay.topic_id, "partition": replay.partition, "offset": replay.sent}
    rejection = session.execute(_REJECTION, place).one_or_none()
    if rejection is not None:
        replay.refused_at = func.now()
        dead_arrivals.count(session.connection(), replay.letter, *rejection)


def _open(session: Session, letters: Sequence[int]) -> Sequence[DeadLetterRow]:
    row = DeadLetterRow
    busy = select(DeadReplayRow.letter).where(DeadReplayRow.sent_at.is_(None))
    query = select(row).where(row.id.in_(letters), row.state.in_(OPEN), row.sealed.is_not(None), row.id.not_in(busy))
    return session.scalars(query.order_by(row.id).with_for_update(skip_locked=True)).all()


def _note(session: Session, rows: Sequence[DeadLetterRow], topic_id: str, after: Mapping[int, int]) -> list[Intent]:
    made = [
        DeadReplayRow(
            letter=row.id,
            token=secrets.token_hex(16),
            topic_id=topic_id,
            partition=row.raw_partition,
            after=after[row.id],
        )
        for row in rows
    ]
    session.add_all(made)
    session.flush()
    return [_intent(one, row.fixed or row.sealed or "") for one, row in zip(made, rows, strict=True)]


def _intent(row: DeadReplayRow, envelope: str) -> Intent:
    return Intent(row.id, row.letter, row.token, row.topic_id, row.partition, row.after, envelope)


def _unfinished(stream: str, destination: str | None) -> Select[DeadReplayRow]:
    query = select(DeadReplayRow).join(DeadLetterRow, DeadLetterRow.id == DeadReplayRow.letter)
    query = query.where(DeadLetterRow.stream == stream, DeadReplayRow.sent_at.is_(None)).order_by(DeadReplayRow.id)
    return query if destination is None else query.where(DeadLetterRow.destination == destination)


def _broken_off(stream: str) -> Select[DeadReplayRow]:
    return _unfinished(stream, None).where(DeadReplayRow.started_at < func.now() - BROKEN_OFF)


def _move(session: Session, letters: Sequence[int], state: LetterState) -> None:
    row = DeadLetterRow
    session.execute(update(row).where(row.id.in_(letters)).values(state=state, changed_at=func.now()))

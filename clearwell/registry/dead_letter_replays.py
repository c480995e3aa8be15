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
from clearwell.records.dead_letter import DELIVER
from clearwell.registry import audit, dead_letter_intake, dead_letters
from clearwell.registry.dead_letters import OPEN, DeadLetterFilter, DeadLetterState, RegisteredDeadLetter
from clearwell.registry.models import DeadLetterReplayRow, DeadLetterRow

BROKEN_OFF = timedelta(seconds=60)
"""Longer than SEND_WITHIN and Kafka's own retries (`kafka.producer.DELIVERY_SECONDS`) take together."""

SEND_WITHIN = 15.0
"""Seconds from the intent to the sending; whoever took longer must not send any more."""


@dataclass(frozen=True, slots=True)
class ReplayIntent:
    """One replay of one dead letter; see DeadLetterReplayRow. `envelope` holds the event that is meant."""

    id: int
    dead_letter_id: int
    token: str
    topic_id: str
    partition: int
    after: int
    envelope: str


@dataclass(frozen=True, slots=True)
class DeadLetterReplay:
    """One replay as people look at it; `offset` is None where it was broken off, or is under way."""

    started_at: datetime
    sent_at: datetime | None
    refused_at: datetime | None
    topic_id: str
    partition: int
    offset: int | None


def history(session: Session, id_: int) -> list[DeadLetterReplay]:
    """The replays of a dead letter, oldest first."""
    row = DeadLetterReplayRow
    query = (
        select(row.started_at, row.sent_at, row.refused_at, row.topic_id, row.partition, row.sent_offset)
        .where(row.dead_letter_id == id_)
        .order_by(row.id)
    )
    return [DeadLetterReplay(*columns) for columns in session.execute(query)]


def begin(
    session: Session, letters: Sequence[RegisteredDeadLetter], topic_id: str, ends: Mapping[int, int]
) -> list[ReplayIntent]:
    """Note that rejected events of one stream go to raw again.

    `ends` holds for each partition the offset that raw has not reached yet. Those that are not open any more, or
    that somebody else replays, are left out.
    """
    dead_letter_intake.lock(session.connection(), letters[0].stream)  # nobody else chooses the same ones
    rows = _open(session, [letter.id for letter in letters])
    return _note(session, rows, topic_id, {row.id: ends[row.raw_partition] for row in rows})


def take_turn(session: Session, stream: str, destination: str) -> None:
    """Hold off other replays of a stream until the end of the transaction: now the store may be claimed.

    Raises Retryable when a replay to that destination is under way, or was broken off and is not settled.
    """
    dead_letter_intake.lock(session.connection(), stream)
    if unfinished(session, stream, destination):
        raise Retryable(f"Another replay to {destination} is under way: try again when it has ended.")


def begin_delivery(
    session: Session, letters: Sequence[RegisteredDeadLetter], topic_id: str, position: int
) -> list[ReplayIntent]:
    """After `take_turn`: note that clean events of one partition go to one destination, which is at `position`.

    Each gets the position after it, in the order of `letters`; those that are not open any more are left out.
    """
    rows = {row.id: row for row in _open(session, [letter.id for letter in letters])}
    ordered = [rows[letter.id] for letter in letters if letter.id in rows]
    return _note(session, ordered, topic_id, {row.id: position + at for at, row in enumerate(ordered, 1)})


def unfinished(session: Session, stream: str, destination: str | None = None) -> int:
    """How many replays of a stream (of one destination; "" for rejected events) are under way or were broken off."""
    return session.scalar(select(func.count()).select_from(_unfinished(stream, destination).subquery())) or 0


def broken_off(session: Session, stream: str) -> bool:
    """Whether `take_over` would take any."""
    return session.scalars(_broken_off(stream).limit(1)).first() is not None


def take_over(session: Session, stream: str) -> list[tuple[RegisteredDeadLetter, ReplayIntent]]:
    """The replays of a stream that were broken off; from now on they are the caller's, for BROKEN_OFF."""
    row = DeadLetterReplayRow
    broken = session.scalars(_broken_off(stream).with_for_update(of=row)).all()
    session.execute(update(row).where(row.id.in_([replay.id for replay in broken])).values(started_at=func.now()))
    ids = [replay.dead_letter_id for replay in broken]
    by_id = {letter.id: letter for letter in dead_letters.find(session, DeadLetterFilter(ids=ids))} if ids else {}
    return [(by_id[replay.dead_letter_id], _intent(replay, "")) for replay in broken]


def complete(session: Session, stream: str, sent: Mapping[int, int]) -> None:
    """Intents whose event is durable, by id, and the offset it has (of a delivery: the position after it).

    A rejection that came in meanwhile as a dead letter of its own is counted as an attempt of the one it belongs to.
    """
    dead_letter_intake.lock(session.connection(), stream)
    row = DeadLetterReplayRow
    replays = session.scalars(select(row).where(row.id.in_(sent), row.sent_at.is_(None)).with_for_update()).all()
    for replay in replays:
        replay.sent_offset = sent[replay.id]
        replay.sent_at = func.now()
    ids = [replay.dead_letter_id for replay in replays]
    _move(session, ids, DeadLetterState.REPLAYED)
    session.flush()
    if ids:
        audit.record(session, "replay", f"dead-letter/{stream}", {"dead_letters": sorted(ids)})
    for replay in replays:
        _join_rejection(session, stream, replay)


def refuse(session: Session, stream: str, intent: ReplayIntent, reason: str, version: int) -> None:
    """A destination refused the event again, for `reason`."""
    dead_letter_intake.lock(session.connection(), stream)
    session.execute(
        update(DeadLetterReplayRow)
        .where(DeadLetterReplayRow.id == intent.id)
        .values(sent_at=func.now(), refused_at=func.now())
    )
    _move(session, [intent.dead_letter_id], DeadLetterState.REPLAYED)
    dead_letter_intake.count_attempt(session.connection(), intent.dead_letter_id, reason, DELIVER, "", version)
    audit.record(
        session, "replay", f"dead-letter/{stream}", {"dead_letters": [intent.dead_letter_id], "refused": reason}
    )


def forget(session: Session, intents: Sequence[int]) -> None:
    """Intents whose event was never sent: their dead letters are as they were."""
    session.execute(
        delete(DeadLetterReplayRow).where(DeadLetterReplayRow.id.in_(intents), DeadLetterReplayRow.sent_at.is_(None))
    )


_REJECTION = text("""
DELETE FROM clearwell_registry.dead_letter
WHERE stream = :stream AND destination = '' AND origin_topic_id = :topic AND raw_partition = :partition
    AND raw_offset = :offset AND ours AND state = 'waiting' AND attempts = 0
RETURNING reason, step, field, version
""")


def _join_rejection(session: Session, stream: str, replay: DeadLetterReplayRow) -> None:
    record = {"stream": stream, "topic": replay.topic_id, "partition": replay.partition, "offset": replay.sent_offset}
    rejection = session.execute(_REJECTION, record).one_or_none()
    if rejection is not None:
        replay.refused_at = func.now()
        dead_letter_intake.count_attempt(session.connection(), replay.dead_letter_id, *rejection)


def _open(session: Session, ids: Sequence[int]) -> Sequence[DeadLetterRow]:
    row = DeadLetterRow
    busy = select(DeadLetterReplayRow.dead_letter_id).where(DeadLetterReplayRow.sent_at.is_(None))
    query = select(row).where(row.id.in_(ids), row.state.in_(OPEN), row.sealed.is_not(None), row.id.not_in(busy))
    return session.scalars(query.order_by(row.id).with_for_update(skip_locked=True)).all()


def _note(
    session: Session, rows: Sequence[DeadLetterRow], topic_id: str, after: Mapping[int, int]
) -> list[ReplayIntent]:
    replays = [
        DeadLetterReplayRow(
            dead_letter_id=row.id,
            token=secrets.token_hex(16),
            topic_id=topic_id,
            partition=row.raw_partition,
            after=after[row.id],
        )
        for row in rows
    ]
    session.add_all(replays)
    session.flush()
    return [_intent(replay, row.fixed or row.sealed or "") for replay, row in zip(replays, rows, strict=True)]


def _intent(row: DeadLetterReplayRow, envelope: str) -> ReplayIntent:
    return ReplayIntent(row.id, row.dead_letter_id, row.token, row.topic_id, row.partition, row.after, envelope)


def _unfinished(stream: str, destination: str | None) -> Select[DeadLetterReplayRow]:
    query = select(DeadLetterReplayRow).join(DeadLetterRow, DeadLetterRow.id == DeadLetterReplayRow.dead_letter_id)
    query = query.where(DeadLetterRow.stream == stream, DeadLetterReplayRow.sent_at.is_(None)).order_by(
        DeadLetterReplayRow.id
    )
    return query if destination is None else query.where(DeadLetterRow.destination == destination)


def _broken_off(stream: str) -> Select[DeadLetterReplayRow]:
    return _unfinished(stream, None).where(DeadLetterReplayRow.started_at < func.now() - BROKEN_OFF)


def _move(session: Session, ids: Sequence[int], state: DeadLetterState) -> None:
    row = DeadLetterRow
    session.execute(update(row).where(row.id.in_(ids)).values(state=state, changed_at=func.now()))

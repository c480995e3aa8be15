"""Dead letters as they come out of their topic: many at once, each once, and linked to the one they are a replay of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, text

from clearwell.records.dead_letter import DeadLetter
from clearwell.registry.dead_letters import DeadLetterState
from clearwell.registry.models import SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedDeadLetter(DeadLetter):
    """One record of a dead topic, verified. `sealed` is None where it is none of `ours`."""

    ours: bool
    size: int
    sealed: str | None
    dead_topic_id: str
    dead_offset: int
    rejected_at: datetime
    state: DeadLetterState

    @property
    def identity(self) -> tuple[str, str, int, int]:
        """Inside its stream."""
        return self.destination, self.origin_topic_id, self.raw_partition, self.raw_offset


_TYPES = {
    **dict.fromkeys(("raw_partition", "version"), "integer"),
    **dict.fromkeys(("raw_offset", "size", "dead_offset", "clean_offset"), "bigint"),
    "ours": "boolean",
    "rejected_at": "timestamptz",
}
_NAMES = tuple(field.name for field in fields(CopiedDeadLetter))
_ARRAYS = ", ".join(f"CAST(:{name} AS {_TYPES.get(name, 'text')}[])" for name in _NAMES)

_INSERT = text(
    " ".join(
        (
            f"INSERT INTO {SCHEMA}.dead_letter ({', '.join(_NAMES)})",
            "SELECT * FROM",
            f"unnest({_ARRAYS})",
            "ON CONFLICT (stream, destination, origin_topic_id, raw_partition, raw_offset)",
            "DO UPDATE SET last_seen = now()",
            "RETURNING (xmax = 0)",  # whether it is a new row
        )
    )
)

_AGAIN = text("""
UPDATE clearwell_registry.dead_letter_replay AS replay SET refused_at = coalesce(replay.refused_at, now())
FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]), CAST(:offsets AS bigint[]))
    AS copied (topic_id, partition, sent_offset), clearwell_registry.dead_letter AS letter
WHERE (replay.topic_id, replay.partition, replay.sent_offset)
        = (copied.topic_id, copied.partition, copied.sent_offset)
    AND letter.id = replay.dead_letter_id AND letter.destination = '' AND letter.stream = :stream
RETURNING replay.topic_id, replay.partition, replay.sent_offset, letter.id, replay.refused_at = now()
""")

_COUNT = text("""
UPDATE clearwell_registry.dead_letter
SET attempts = attempts + 1, last_seen = now(), changed_at = now(),
    reason = :reason, step = :step, field = :field, version = :version,
    state = CASE WHEN state <> 'replayed' THEN state
                 WHEN attempts + 1 >= most_attempts OR sealed IS NULL THEN 'parked' ELSE 'waiting' END
WHERE id = :id
""")


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of some copies: new dead letters, replays that were rejected again, and what was there already."""

    new: int
    rejected_again: int
    duplicates: int


def lock(connection: Connection, stream: str) -> None:
    """Until the end of the transaction: a replay is noted, or its rejection is copied, one after the other."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"dead/{stream}"})


def add(connection: Connection, copies: Sequence[CopiedDeadLetter]) -> Intake:
    """Keep the dead letters of one stream; doing it again changes nothing but when they were last seen.

    One that is the replay of another (by its raw place as Postgres knows it, never by a header) is counted as an
    attempt of that one, which is parked at its last.
    """
    if not copies:
        return Intake(0, 0, 0)
    lock(connection, copies[0].stream)
    linked, again = _link(connection, [copy for copy in copies if copy.ours and not copy.destination])
    rest: dict[tuple[str, str, int, int], CopiedDeadLetter] = {}
    for copy in copies:
        if copy.identity not in linked:
            rest.setdefault(copy.identity, copy)
    new = 0
    if rest:
        columns = {name: [getattr(copy, name) for copy in rest.values()] for name in _NAMES}
        new = sum(1 for (inserted,) in connection.execute(_INSERT, columns) if inserted)
    return Intake(new, again, len(copies) - new - again)


def count_attempt(connection: Connection, id_: int, reason: str, step: str, field: str, version: int) -> None:
    """One more attempt of a dead letter that ended badly, and why."""
    values = {"id": id_, "reason": reason, "step": step, "field": field, "version": version}
    connection.execute(_COUNT, values)


def _link(connection: Connection, copies: Sequence[CopiedDeadLetter]) -> tuple[set[tuple[str, str, int, int]], int]:
    """Count rejected events that are replays; returns the identities of all that are, and how many are new."""
    if not copies:
        return set(), 0
    by_place = {(copy.origin_topic_id, copy.raw_partition, copy.raw_offset): copy for copy in copies}
    topics, partitions, offsets = (list(part) for part in zip(*by_place, strict=True))
    places = {"topics": topics, "partitions": partitions, "offsets": offsets, "stream": copies[0].stream}
    linked, again = set(), 0
    for topic_id, partition, offset, id_, is_new in connection.execute(_AGAIN, places).all():
        copy = by_place[(topic_id, partition, offset)]
        linked.add(copy.identity)
        if is_new:
            count_attempt(connection, id_, copy.reason, copy.step, copy.field, copy.version)
            again += 1
    return linked, again

"""Letters that arrive from the dead topic: many at once, each once, and linked to the letter they are a replay of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from clearwell.registry.models import SCHEMA


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record of a dead topic, judged. The first five are its identity; `destination` is "" for a rejected event."""

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
    sealed: str | None
    dead_topic: str
    dead_partition: int
    dead_offset: int
    clean_topic: str | None
    clean_partition: int | None
    clean_offset: int | None
    rejected_at: datetime
    state: str

    @property
    def identity(self) -> tuple[str, str, int, int]:
        """Inside its stream."""
        return self.destination, self.raw_topic, self.raw_partition, self.raw_offset


_TYPES = {
    **dict.fromkeys(("raw_partition", "version", "dead_partition", "clean_partition"), "integer"),
    **dict.fromkeys(("raw_offset", "size", "dead_offset", "clean_offset"), "bigint"),
    "ours": "boolean",
    "rejected_at": "timestamptz",
}
_NAMES = Arrival.__slots__
_ARRAYS = ", ".join(f"CAST(:{name} AS {_TYPES.get(name, 'text')}[])" for name in _NAMES)

_INSERT = text(
    " ".join(
        (
            f"INSERT INTO {SCHEMA}.dead_letter ({', '.join(_NAMES)})",
            "SELECT * FROM",
            f"unnest({_ARRAYS})",
            "ON CONFLICT (stream, destination, raw_topic, raw_partition, raw_offset) DO UPDATE SET last_seen = now()",
            "RETURNING (xmax = 0)",  # whether it is a new row
        )
    )
)

_AGAIN = text("""
UPDATE clearwell_registry.dead_replay AS replay SET refused_at = coalesce(replay.refused_at, now())
FROM unnest(CAST(:topics AS text[]), CAST(:partitions AS integer[]), CAST(:offsets AS bigint[]))
    AS arrived (topic_id, partition, sent), clearwell_registry.dead_letter AS letter
WHERE (replay.topic_id, replay.partition, replay.sent) = (arrived.topic_id, arrived.partition, arrived.sent)
    AND letter.id = replay.letter AND letter.destination = '' AND letter.stream = :stream
RETURNING replay.topic_id, replay.partition, replay.sent, replay.letter, replay.refused_at = now()
""")

_COUNT = text("""
UPDATE clearwell_registry.dead_letter
SET attempts = attempts + 1, last_seen = now(), changed_at = now(),
    reason = :reason, step = :step, field = :field, version = :version,
    state = CASE WHEN state <> 'replayed' THEN state
                 WHEN attempts + 1 >= most_attempts OR sealed IS NULL THEN 'parked' ELSE 'waiting' END
WHERE id = :letter
""")


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of some arrivals: new letters, replays that were rejected again, and what was there already."""

    new: int
    again: int
    repeats: int


def lock(connection: Connection, stream: str) -> None:
    """Until the end of the transaction: a replay is noted, or its rejection arrives, one after the other."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"dead/{stream}"})


def take(connection: Connection, arrivals: Sequence[Arrival]) -> Arrived:
    """Keep the arrivals of one stream; doing it again changes nothing but when they were last seen.

    One that is the replay of a letter (by its raw place as Postgres knows it, never by a header) is counted as an
    attempt of that letter, which at its last one is parked.
    """
    if not arrivals:
        return Arrived(0, 0, 0)
    lock(connection, arrivals[0].stream)
    linked, again = link(connection, [one for one in arrivals if one.ours and not one.destination])
    rest: dict[tuple[str, str, int, int], Arrival] = {}
    for one in arrivals:
        if one.identity not in linked:
            rest.setdefault(one.identity, one)
    new = 0
    if rest:
        columns = {name: [getattr(one, name) for one in rest.values()] for name in _NAMES}
        new = sum(1 for (inserted,) in connection.execute(_INSERT, columns) if inserted)
    return Arrived(new, again, len(arrivals) - new - again)


def link(connection: Connection, arrivals: Sequence[Arrival]) -> tuple[set[tuple[str, str, int, int]], int]:
    """Count rejected events that are replays; returns the identities of all that are, and how many are new."""
    if not arrivals:
        return set(), 0
    by_place = {(one.raw_topic, one.raw_partition, one.raw_offset): one for one in arrivals}
    topics, partitions, offsets = (list(part) for part in zip(*by_place, strict=True))
    wanted = {"topics": topics, "partitions": partitions, "offsets": offsets, "stream": arrivals[0].stream}
    linked, again = set(), 0
    for *place, letter, new in connection.execute(_AGAIN, wanted).all():
        one = by_place[(place[0], place[1], place[2])]
        linked.add(one.identity)
        if new:
            count(connection, letter, one.reason, one.step, one.field, one.version)
            again += 1
    return linked, again


def count(connection: Connection, letter: int, reason: str, step: str, field: str, version: int) -> None:
    """One more attempt of a letter that ended badly, and why."""
    values = {"letter": letter, "reason": reason, "step": step, "field": field, "version": version}
    connection.execute(_COUNT, values)

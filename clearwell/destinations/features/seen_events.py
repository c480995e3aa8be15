"""Which events a view holds: a bit for each raw offset, so that none is ever counted twice (invariants 3 and 4).

Tiles are sums, and history is a list: unlike a row of a key they can't be written again. A group's own position keeps
its own replays out, but not those of another group, of a dead letter that was mended, or of a destination replayed
under a new name. So the view itself keeps, for each partition of raw, a bitmap of the raw offsets that it has seen, in
chunks of 8,192 (1 KiB each), changed in the transaction that changes the tiles and lists the history.

How many of them were late (`lateness`) is counted beside the bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from clearwell.destinations.postgres.positions import SCHEMA

CHUNK = 8_192
"""Raw offsets a chunk."""

_TABLE = Identifier(SCHEMA, "counted")

CREATE = f"""
CREATE TABLE {SCHEMA}.counted (
    view_name text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    chunk bigint NOT NULL,
    seen bytea NOT NULL,
    late bigint NOT NULL,
    PRIMARY KEY (view_name, topic_id, partition, chunk)
)
"""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

_READ = SQL("""
SELECT chunk, seen, late FROM {0}
WHERE view_name = %(view)s AND topic_id = %(topic)s AND partition = %(partition)s AND chunk = ANY(%(chunks)s)
""").format(_TABLE)

_WRITE = SQL("""
INSERT INTO {0} (view_name, topic_id, partition, chunk, seen, late)
VALUES (%(view)s, %(topic)s, %(partition)s, %(chunk)s, %(seen)s, %(late)s)
ON CONFLICT (view_name, topic_id, partition, chunk) DO UPDATE
SET seen = excluded.seen, late = excluded.late
""").format(_TABLE)

_LATE = SQL("SELECT coalesce(sum(late), 0)::bigint FROM {} WHERE view_name = %s").format(_TABLE)

MEND = SQL("ALTER TABLE {} DROP COLUMN IF EXISTS newest").format(_TABLE)
"""Of a table that an earlier version has made, which measured lateness by raw partition."""

_ANY = SQL("SELECT 1 FROM {} WHERE view_name = %s LIMIT 1").format(_TABLE)


class CountedEvent(NamedTuple):
    """A raw record; `place` is its index in the caller's batch, `late` whether it is too late for the windows."""

    topic: str
    offset: int
    place: int
    late: bool


class Seen(NamedTuple):
    """An event that was never seen before, by its place in the caller's batch; a late one is in no window."""

    place: int
    late: bool


@dataclass(slots=True)
class Chunk:
    """The events seen of CHUNK raw offsets, and how many of them were late."""

    seen: bytearray
    late: int = 0

    def add(self, bit: int) -> bool:
        """Mark an offset as seen; False when it was."""
        byte, mask = bit >> 3, 1 << (bit & 7)
        if self.seen[byte] & mask:
            return False
        self.seen[byte] |= mask
        return True


def count(connection: Connection[Any], view: str, partition: int, events: Sequence[CountedEvent]) -> list[Seen]:
    """Those of the events that were never seen, in the order of their places; from now on they are seen.

    Call it in the transaction that adds them; it holds others of the same view and raw partition off until that ends.
    """
    seen: list[Seen] = []
    for topic, some in groupby(sorted(events), key=lambda event: event.topic):
        seen += _count(connection, {"view": view, "topic": topic, "partition": partition}, list(some))
    return sorted(seen)


def _count(connection: Connection[Any], coordinates: dict[str, Any], events: Sequence[CountedEvent]) -> list[Seen]:
    connection.execute(
        _LOCK, (f"clearwell counted {coordinates['view']} {coordinates['topic']} {coordinates['partition']}",)
    )
    numbers = sorted({event.offset // CHUNK for event in events})
    rows = connection.execute(_READ, {**coordinates, "chunks": numbers}).fetchall()
    chunks = {number: Chunk(bytearray(seen), late) for number, seen, late in rows}
    new_events = list(choose(chunks, events))
    with connection.cursor() as cursor:
        changed = [{**coordinates, "chunk": n, "seen": bytes(chunks[n].seen), "late": chunks[n].late} for n in numbers]
        cursor.executemany(_WRITE, changed)
    return new_events


def choose(chunks: dict[int, Chunk], events: Sequence[CountedEvent]) -> Iterator[Seen]:
    """The events that were never seen; `events` are of one raw partition, sorted; marks them in `chunks`. Pure."""
    for number, some in groupby(events, key=lambda event: event.offset // CHUNK):
        chunk = chunks.setdefault(number, Chunk(bytearray(CHUNK // 8)))
        for event in some:
            if chunk.add(event.offset % CHUNK):
                chunk.late += event.late
                yield Seen(event.place, event.late)


def late(connection: Connection[Any], view: str) -> int:
    """How many events came too late for the view's tiles."""
    row = connection.execute(_LATE, (view,)).fetchone()
    return int(row[0]) if row else 0


def any_of(connection: Connection[Any], view: str) -> bool:
    """Whether an event of the view was ever seen."""
    return connection.execute(_ANY, (view,)).fetchone() is not None

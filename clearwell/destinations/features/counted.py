"""Which events a view holds: a bit for each raw offset, so that none is ever counted twice (invariants 3 and 4).

Tiles are sums, and history is a list: unlike a row of a key they can't be written again. A group's own position keeps
its own replays out, but not those of another group, of a dead letter that was mended, or of a destination replayed
under a new name. So the view itself keeps, for each partition of raw, a bitmap of the raw offsets that it has seen, in
chunks of 8,192 (1 KiB each), changed in the transaction that changes the tiles and lists the history.

Lateness is judged here too, when an event is first seen: by the newest event time before it in its raw partition. In
the order of the partition that is the same however the events are batched, and whenever an empty view is filled again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    newest timestamp with time zone NOT NULL,
    late bigint NOT NULL,
    PRIMARY KEY (view_name, topic_id, partition, chunk)
)
"""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

_READ = SQL("""
(SELECT chunk, seen, newest, late FROM {0}
 WHERE view_name = %(view)s AND topic_id = %(topic)s AND partition = %(partition)s AND chunk < %(first)s
 ORDER BY chunk DESC LIMIT 1)
UNION ALL
SELECT chunk, seen, newest, late FROM {0}
WHERE view_name = %(view)s AND topic_id = %(topic)s AND partition = %(partition)s AND chunk = ANY(%(chunks)s)
""").format(_TABLE)

_WRITE = SQL("""
INSERT INTO {0} (view_name, topic_id, partition, chunk, seen, newest, late)
VALUES (%(view)s, %(topic)s, %(partition)s, %(chunk)s, %(seen)s, %(newest)s, %(late)s)
ON CONFLICT (view_name, topic_id, partition, chunk) DO UPDATE
SET seen = excluded.seen, newest = excluded.newest, late = excluded.late
""").format(_TABLE)

_LATE = SQL("SELECT coalesce(sum(late), 0)::bigint FROM {} WHERE view_name = %s").format(_TABLE)

_ANY = SQL("SELECT 1 FROM {} WHERE view_name = %s LIMIT 1").format(_TABLE)


class Event(NamedTuple):
    """What the rules look at; `place` is its index in the caller's batch."""

    topic: str
    offset: int
    time: datetime
    place: int


class Seen(NamedTuple):
    """An event that was never seen before, by its place in the caller's batch; a late one is in no window."""

    place: int
    late: bool


@dataclass(slots=True)
class Chunk:
    """The events seen of CHUNK raw offsets. `newest` is the newest time in this chunk and all before it."""

    seen: bytearray
    newest: datetime | None = None
    late: int = 0

    def add(self, bit: int) -> bool:
        """Mark an offset as seen; False when it was."""
        byte, mask = bit >> 3, 1 << (bit & 7)
        if self.seen[byte] & mask:
            return False
        self.seen[byte] |= mask
        return True

    def before(self, bit: int) -> bool:
        """Whether all that was seen lies before `bit`."""
        byte = bit >> 3
        return not self.seen[byte] >> (bit & 7) and not any(self.seen[byte + 1 :])


def count(
    connection: Connection[Any], view: str, partition: int, lateness: timedelta, events: Sequence[Event]
) -> list[Seen]:
    """Those of the events that were never seen, in the order of their places; from now on they are seen.

    Call it in the transaction that adds them; it holds others of the same view and raw partition off until that ends.
    """
    chosen: list[Seen] = []
    for topic, some in groupby(sorted(events), key=lambda event: event.topic):
        chosen += _count(connection, {"view": view, "topic": topic, "partition": partition}, lateness, list(some))
    return sorted(chosen)


def _count(
    connection: Connection[Any], place: dict[str, Any], lateness: timedelta, events: Sequence[Event]
) -> list[Seen]:
    connection.execute(_LOCK, (f"clearwell counted {place['view']} {place['topic']} {place['partition']}",))
    numbers = sorted({event.offset // CHUNK for event in events})
    found = connection.execute(_READ, {**place, "first": numbers[0], "chunks": numbers}).fetchall()
    chunks = {number: Chunk(bytearray(seen), newest, late) for number, seen, newest, late in found}
    chosen = list(choose(chunks, lateness, events))
    with connection.cursor() as cursor:
        changed = [
            {**place, "chunk": n, "seen": bytes(chunks[n].seen), "newest": chunks[n].newest, "late": chunks[n].late}
            for n in numbers
        ]
        cursor.executemany(_WRITE, changed)
    return chosen


def choose(chunks: dict[int, Chunk], lateness: timedelta, events: Sequence[Event]) -> Iterator[Seen]:
    """The events that were never seen; `events` are of one raw partition, sorted; marks them in `chunks`.

    Pure. An event that is delivered before events of lower offsets is judged by those that are there.
    """
    newest: datetime | None = None
    for number, some in groupby(events, key=lambda event: event.offset // CHUNK):
        chunk = chunks.get(number)
        if chunk is None:
            chunk = chunks[number] = Chunk(bytearray(CHUNK // 8))
        inside = list(some)
        lower = max((other for other in chunks if other < number), default=None)
        known = [chunks[lower].newest if lower is not None else None, newest]
        if chunk.before(inside[0].offset % CHUNK):
            known.append(chunk.newest)
        newest = max((one for one in known if one is not None), default=None)
        for event in inside:
            if chunk.add(event.offset % CHUNK):
                late = newest is not None and newest - event.time > lateness
                chunk.late += late
                yield Seen(event.place, late)
            newest = event.time if newest is None else max(newest, event.time)
        chunk.newest = newest if chunk.newest is None else max(chunk.newest, newest or chunk.newest)


def late(connection: Connection[Any], view: str) -> int:
    """How many events came too late for the view's tiles."""
    found = connection.execute(_LATE, (view,)).fetchone()
    return int(found[0]) if found else 0


def any_of(connection: Connection[Any], view: str) -> bool:
    """Whether an event of the view was ever seen."""
    return connection.execute(_ANY, (view,)).fetchone() is not None

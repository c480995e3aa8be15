"""Where each group is in each clean partition, kept in the store beside the rows (invariant 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start, counts_of

SCHEMA = "clearwell_delivery"
_TABLE = Identifier(SCHEMA, "positions")

CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE {SCHEMA}.positions (
    group_name text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0,
    generation bigint NOT NULL,
    epoch bigint NOT NULL DEFAULT 1,
    marks jsonb NOT NULL DEFAULT '{{}}',
    delivered bigint NOT NULL DEFAULT 0,
    unrouted bigint NOT NULL DEFAULT 0,
    repeats bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, topic_id, partition)
)
"""

_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"

_ADD_REFUSED = f"ALTER TABLE {SCHEMA}.positions ADD COLUMN IF NOT EXISTS refused bigint NOT NULL DEFAULT 0"

_CLAIM = SQL("""
INSERT INTO {} AS known (group_name, topic_id, partition, generation)
VALUES (%(group)s, %(topic_id)s, %(partition)s, %(generation)s)
ON CONFLICT (group_name, topic_id, partition) DO UPDATE
SET generation = excluded.generation, epoch = known.epoch + 1, updated_at = now()
WHERE known.generation <= excluded.generation
RETURNING epoch, next_offset, marks
""").format(_TABLE)

_ADVANCE = SQL("""
UPDATE {}
SET next_offset = %(next_offset)s, marks = %(marks)s, updated_at = now(), delivered = delivered + %(delivered)s,
    unrouted = unrouted + %(unrouted)s, repeats = repeats + %(repeats)s, refused = refused + %(refused)s
WHERE group_name = %(group)s AND topic_id = %(topic_id)s AND partition = %(partition)s
  AND epoch = %(epoch)s AND next_offset < %(next_offset)s
""").format(_TABLE)

_READ = SQL("""
SELECT epoch, next_offset FROM {}
WHERE group_name = %(group)s AND topic_id = %(topic_id)s AND partition = %(partition)s
""").format(_TABLE)

_ACCOUNTS = SQL("""
SELECT partition, next_offset, delivered, unrouted, repeats, refused FROM {}
WHERE group_name = %(group)s AND topic_id = %(topic_id)s ORDER BY partition
""").format(_TABLE)


_SET_BACK = SQL("""
UPDATE {}
SET epoch = epoch + 1, next_offset = %(next_offset)s, marks = %(marks)s, updated_at = now(),
    delivered = %(delivered)s, unrouted = %(unrouted)s, repeats = %(repeats)s, refused = %(refused)s
WHERE group_name = %(group)s AND topic_id = %(topic_id)s AND partition = %(partition)s
  AND next_offset > %(next_offset)s
""").format(_TABLE)


def create_positions(connection: Connection[Any]) -> None:
    """Create or widen the table; a user without CREATE may go on where it is as it should be."""
    columns = {name for (name,) in connection.execute(_COLUMNS, (f"{SCHEMA}.positions",)).fetchall()}
    if not columns:
        connection.execute(CREATE)
    elif "refused" not in columns:
        connection.execute(_ADD_REFUSED)


def claim(connection: Connection[Any], group: str, topic_id: str, partition: int, generation: int) -> Claim:
    """One atomic statement: refuse an older generation, else a new epoch. Raises Fenced."""
    parameters = {"group": group, "topic_id": topic_id, "partition": partition, "generation": generation}
    row = connection.execute(_CLAIM, parameters).fetchone()
    if row is None:
        raise older_generation(group, partition, generation, f"the table {SCHEMA}.positions")
    epoch, next_offset, high_watermarks = row
    return Claim(epoch, next_offset, high_watermarks)


def advance(connection: Connection[Any], group: str, batch: CleanBatch) -> bool:
    """Move the position inside the caller's transaction; the row's lock holds others off until it ends.

    False when the position is there already: the batch was written before (a commit whose reply was lost).
    Raises Fenced when the partition was claimed since.
    """
    values = {
        "group": group,
        "topic_id": batch.topic_id,
        "partition": batch.partition,
        "epoch": batch.epoch,
        "next_offset": batch.next_offset,
        "marks": Jsonb(dict(batch.high_watermarks)),
        **counts_of(batch),
    }
    if connection.execute(_ADVANCE, values).rowcount == 1:
        return True
    return not is_written(connection, group, batch)


def is_written(connection: Connection[Any], group: str, batch: CleanBatch) -> bool:
    """Whether the position is behind the batch. Raises Fenced when the partition was claimed since."""
    position_key = {"group": group, "topic_id": batch.topic_id, "partition": batch.partition}
    row = connection.execute(_READ, position_key).fetchone()
    if row is None or row[0] != batch.epoch:
        raise older_epoch(group, batch)
    next_offset: int = row[1]
    return next_offset >= batch.next_offset


def rewind(connection: Connection[Any], group: str, topic_id: str, start: Start) -> None:
    """Inside the caller's transaction: a new epoch at an earlier position; nothing where it is that early already."""
    was = start.accounts
    counts = {name: getattr(was, name) for name in ("delivered", "unrouted", "repeats", "refused")}
    position_key = {"group": group, "topic_id": topic_id, "partition": was.partition, "next_offset": was.next_offset}
    connection.execute(_SET_BACK, {**position_key, **counts, "marks": Jsonb(dict(start.high_watermarks))})


def accounts(connection: Connection[Any], group: str, topic_id: str) -> Sequence[Accounts]:
    """One entry for each partition that was claimed, by number."""
    rows = connection.execute(_ACCOUNTS, {"group": group, "topic_id": topic_id}).fetchall()
    return [Accounts(*row) for row in rows]

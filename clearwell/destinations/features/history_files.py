"""The history of a feature view: each of its events once, as Parquet, committed with the tiles (invariants 3 and 4).

A file is written inside the transaction that counts its events, and is part of the history when the transaction has
put its name into the list `clearwell_delivery.offline`, until a joined one replaces it (`history_compaction`). What
is not listed is what a crash, or an owner that was replaced in the middle of a write, left behind: no reader takes
it, and the next claim of the partition removes it.
See docs/decisions/0016-offline-features.md.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from psycopg import Connection
from psycopg.sql import SQL, Identifier, Literal

from clearwell.contract.features import FeatureView
from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.seen_events import Seen
from clearwell.destinations.postgres.positions import SCHEMA
from clearwell.destinations.protocol import CleanBatch
from clearwell.pipeline.arrow import arrow_schema, record_batch

_TABLE = Identifier(SCHEMA, "offline")

CREATE = f"""
CREATE TABLE {SCHEMA}.offline (
    view_name text NOT NULL,
    file text NOT NULL,
    events bigint NOT NULL,
    bytes bigint NOT NULL,
    first_time timestamp with time zone NOT NULL,
    last_time timestamp with time zone NOT NULL,
    written_at timestamp with time zone NOT NULL DEFAULT now(),
    replaced_at timestamp with time zone,
    PRIMARY KEY (view_name, file)
)
"""

_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
_WIDEN = f"ALTER TABLE {SCHEMA}.offline ADD COLUMN IF NOT EXISTS replaced_at timestamp with time zone"

_ID = f"SELECT obj_description(to_regclass('{SCHEMA}.offline'), 'pg_class')"

_LIST = SQL("INSERT INTO {} (view_name, file, events, bytes, first_time, last_time) VALUES (%s, %s, %s, %s, %s, %s)")
_LISTED = SQL("SELECT file FROM {} WHERE view_name = %s AND file = ANY(%s)")

COMPRESSION = "zstd"

IDENTITY = pa.schema(
    [
        pa.field("_raw_topic", pa.string(), nullable=False),
        pa.field("_raw_partition", pa.int32(), nullable=False),
        pa.field("_raw_offset", pa.int64(), nullable=False),
        pa.field("_late", pa.bool_(), nullable=False),
    ]
)
"""The columns after the event's own: its raw identity, and whether it came too late to be in any window."""


def create_list(connection: Connection[Any]) -> None:
    """Create or widen the list of files."""
    columns = {name for (name,) in connection.execute(_COLUMNS, (f"{SCHEMA}.offline",)).fetchall()}
    if not columns:
        connection.execute(CREATE)
    elif "replaced_at" not in columns:
        connection.execute(_WIDEN)
    if list_id(connection) is None:
        connection.execute(SQL("COMMENT ON TABLE {} IS {}").format(_TABLE, Literal(f"Clearwell: {uuid.uuid4().hex}")))


def list_id(connection: Connection[Any]) -> str | None:
    """What tells this list from those of other databases, and from one that was dropped and made again."""
    row = connection.execute(_ID).fetchone()
    return row[0] if row else None


def events_folder(root: Folder, view: str) -> Folder:
    """Where a view's events are; no view is called `_events`, so its folder is nobody else's."""
    return root / "_events" / view


def columns_of(view: FeatureView) -> list[Field]:
    """The clean fields that a view is made of, under their clean names: keys, event time, then the rest."""
    time = Field(view.event_time, Type.TIMESTAMP)
    sources = {feature.source.name: feature.source for feature in view.features}
    fields = {field.name: field for field in (*view.entity.keys, time)}
    return list((fields | {name: field for name, field in sources.items() if name not in fields}).values())


class OfflineWriter:
    """Adds the events of one group to the history of one view."""

    def __init__(self, root: Folder, view: FeatureView, schema: CleanSchema, group: str) -> None:
        self._folder = events_folder(root, view.name)
        self._view = view.name
        self._fields = columns_of(view)
        names = [field.name for field in schema.fields]
        self._pick = itemgetter(*(names.index(field.name) for field in self._fields))  # a key and the time at least
        self._time = names.index(view.event_time)
        self._group = hashlib.blake2b(group.encode(), digest_size=4).hexdigest()

    def write(self, connection: Connection[Any], batch: CleanBatch, seen: Sequence[Seen]) -> None:
        """Add the events of the batch that `seen` names; the last thing to be done before the commit.

        Raises TypeError or ValueError when a value has no place in its column.
        """
        if not seen:
            return
        name = self._name(batch.topic_id, batch.partition, batch.next_offset, batch.epoch)
        data = self._encoded(batch, seen)
        times = [batch.rows[event.place][self._time] for event in seen]
        self._folder.put(name, data)
        listed = (self._view, name, len(seen), len(data), min(times), max(times))
        connection.execute(_LIST.format(_TABLE), listed)

    def sweep(self, connection: Connection[Any], topic_id: str, partition: int, epoch: int) -> None:
        """Remove what former owners of a partition wrote and did not commit; `epoch` is the one just claimed."""
        theirs = [name for name in self._folder.names() if self._older(name, topic_id, partition, epoch)]
        if theirs:
            listed = connection.execute(_LISTED.format(_TABLE), (self._view, theirs)).fetchall()
            self._folder.remove(set(theirs) - {name for (name,) in listed})

    def _name(self, topic_id: str, partition: int, end: int, epoch: int) -> str:
        """Of one commit alone: within an epoch the end rises, and no two owners have the same epoch."""
        return f"{partition}.{topic_id}.{end}.{epoch}.{self._group}.parquet"

    def _older(self, name: str, topic_id: str, partition: int, epoch: int) -> bool:
        parts = name.lstrip(".").split(".")
        if len(parts) not in (6, 7) or parts[:2] != [str(partition), topic_id] or parts[4] != self._group:
            return False
        return parts[3].isdigit() and int(parts[3]) < epoch

    def _encoded(self, batch: CleanBatch, seen: Sequence[Seen]) -> bytes:
        rows = [self._pick(batch.rows[event.place]) for event in seen]
        events = record_batch(self._fields, rows)
        identity = [
            pa.array([batch.raw_topics[event.place] for event in seen], pa.string()),
            pa.array([batch.partition] * len(seen), pa.int32()),
            pa.array([batch.raw_offsets[event.place] for event in seen], pa.int64()),
            pa.array([event.late for event in seen], pa.bool_()),
        ]
        return encoded(pa.table([*events.columns, *identity], file_schema(self._fields)))


def file_schema(fields: Sequence[Field]) -> pa.Schema:
    """What a file of events looks like. Every field of theirs may be null: later versions know more of them."""
    nullable = [field.with_nullable(True) for field in arrow_schema(fields)]
    return pa.schema([*nullable, *IDENTITY])


def in_columns(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """A table in these columns; what it was written without is null. Raises pa.ArrowException."""
    columns = [
        table[column.name].cast(column.type)
        if column.name in table.column_names
        else pa.nulls(table.num_rows, column.type)
        for column in schema
    ]
    return pa.table(columns, schema)


def encoded(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression=COMPRESSION)
    return bytes(sink.getvalue())

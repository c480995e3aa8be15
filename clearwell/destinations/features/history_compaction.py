"""Joins the small files of a view's history into larger ones; deliverers and readers go on meanwhile.

A file is written at each flush of a deliverer, and most are small. Joined ones are written beside them; then one
transaction puts them into the list and marks those that they replace (`clearwell_delivery.offline`): a reader of the
list has each event once, before and after. Replaced files stay for GRACE, for readers that have the old list. Whatever
a crash leaves, a joined file that is not in the list or a replaced one that is past its time, the next run removes. One
at a time may join (`features_upkeep`). See docs/decisions/0016-offline-features.md.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from clearwell.destinations.features.history_files import COMPRESSION, in_columns
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.postgres.positions import SCHEMA
from clearwell.errors import ConfigError, Retryable

TARGET = 16 * 2**20
"""Bytes of a joined file, about; it is held in memory while it is made."""

SMALL = TARGET // 2
"""Files of fewer bytes are joined."""

ROWS = 16_384
"""Rows of a row group: so many are in memory at once as it is written and read (65,536 took 50 MB, these 15)."""

GRACE = timedelta(hours=1)
"""How long replaced files stay: longer than most readers read. One that takes longer begins anew."""

_PREFIX = "joined."
_TABLE = Identifier(SCHEMA, "offline")

_FILES = SQL("""
SELECT file, events, bytes, first_time, last_time FROM {} WHERE view_name = %s AND replaced_at IS NULL
ORDER BY written_at, file
""").format(_TABLE)
_LISTED = SQL("SELECT file FROM {} WHERE view_name = %s AND file = ANY(%s)").format(_TABLE)
_REPLACE = SQL("""
UPDATE {} SET replaced_at = now() WHERE view_name = %s AND file = ANY(%s) AND replaced_at IS NULL
""").format(_TABLE)
_ADD = SQL("""
INSERT INTO {} (view_name, file, events, bytes, first_time, last_time) VALUES (%s, %s, %s, %s, %s, %s)
""").format(_TABLE)
_REPLACED = SQL("SELECT file FROM {} WHERE view_name = %s AND replaced_at <= now() - %s::interval").format(_TABLE)
_FORGET = SQL("DELETE FROM {} WHERE view_name = %s AND file = ANY(%s)").format(_TABLE)


class Listed(NamedTuple):
    """A file of a history, as the list has it."""

    name: str
    events: int
    bytes: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Joined:
    """How many files were joined, and into how many."""

    removed: int = 0
    added: int = 0


def listed(connection: Connection[Any], view: str) -> list[Listed]:
    """The files of a view's history, in the order they were written."""
    return [Listed(*row) for row in connection.execute(_FILES, (view,)).fetchall()]


def groups(files: Sequence[Listed], target: int = TARGET) -> Iterator[list[Listed]]:
    """Which of them are to be joined, each group into one file of `target` bytes at most."""
    group: list[Listed] = []
    for file in files:
        if file.bytes >= target // 2:
            continue
        if sum(member.bytes for member in group) + file.bytes > target:
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group


def join(connection: Connection[Any], folder: Folder, view: str, target: int = TARGET) -> Joined:
    """Join the small files of `view`, whose files are in `folder`; the caller keeps others from doing so.

    Raises ConfigError when a file is missing or can't be read, Retryable when the store or the list is not well. What
    was joined until then stays joined.
    """
    removed = added = 0
    for group in groups(listed(connection, view), target):
        done = _join(connection, folder, view, group)
        removed += done
        added += done > 0
    return Joined(removed, added)


def sweep(connection: Connection[Any], folder: Folder, view: str, grace: timedelta = GRACE) -> int:
    """Remove joined files that were never listed, and files replaced before `grace`; how many of the latter."""
    leftovers = [name for name in folder.names() if name.lstrip(".").startswith(_PREFIX)]  # before the list is asked
    known = {name for (name,) in connection.execute(_LISTED, (view, leftovers)).fetchall()}
    folder.remove(set(leftovers) - known)
    replaced = [name for (name,) in connection.execute(_REPLACED, (view, grace)).fetchall()]
    if replaced:
        folder.remove(replaced)
        connection.execute(_FORGET, (view, replaced))
    return len(replaced)


def due(connection: Connection[Any], view: str, grace: timedelta = GRACE) -> int:
    """How many files `sweep` would find replaced before `grace`."""
    return len(connection.execute(_REPLACED, (view, grace)).fetchall())


def _join(connection: Connection[Any], folder: Folder, view: str, group: Sequence[Listed]) -> int:
    """Join those of the group that can be in one file; how many they were, 0 when no two can."""
    files = {file.name: _opened(folder, file) for file in group}
    schema, alike = _one_schema(group, files)
    if len(alike) < 2:
        return 0
    data = _written(schema, folder, {file.name: files[file.name] for file in alike})
    name = f"{_PREFIX}{uuid.uuid4().hex}.parquet"
    folder.put(name, data)
    names = [file.name for file in alike]
    events, first, last = sum(file.events for file in alike), min(o.first for o in alike), max(o.last for o in alike)
    with connection.transaction():
        if connection.execute(_REPLACE, (view, names)).rowcount != len(names):
            raise Retryable(f'The list of files of the view "{view}" was changed while they were joined: try again.')
        connection.execute(_ADD, (view, name, events, len(data), first, last))
    return len(names)


def _opened(folder: Folder, file: Listed) -> parquet.ParquetFile:
    data = folder.get(file.name)
    if data is None:
        raise ConfigError(f"{file.name} is missing in {folder.shown}: bring it back from a backup.")
    try:
        opened = parquet.ParquetFile(io.BytesIO(data))
    except pa.ArrowException:
        opened = None
    if opened is None or opened.metadata.num_rows != file.events:  # never replace what is whole by what is not
        raise _harmed(folder, file.name)
    return opened


def _harmed(folder: Folder, name: str) -> ConfigError:
    return ConfigError(f"{name} in {folder.shown} is not as it was written: bring it back from a backup.")


def _one_schema(group: Sequence[Listed], files: Mapping[str, parquet.ParquetFile]) -> tuple[pa.Schema, list[Listed]]:
    """The columns of all files of the group that agree on types with the first; a view gains columns over time."""
    schema, alike = files[group[0].name].schema_arrow, []
    for file in group:
        try:
            schema = pa.unify_schemas([schema, files[file.name].schema_arrow])
        except pa.ArrowException:
            continue
        alike.append(file)
    return schema, alike


def _written(schema: pa.Schema, folder: Folder, files: Mapping[str, parquet.ParquetFile]) -> bytes:
    sink = pa.BufferOutputStream()
    with parquet.ParquetWriter(sink, schema, compression=COMPRESSION) as writer:
        waiting: list[pa.Table] = []
        for name, file in files.items():
            try:
                waiting.append(in_columns(schema, file.read(use_threads=False)))
            except pa.ArrowException:  # its text quotes values (invariant 9)
                raise _harmed(folder, name) from None
            if sum(table.num_rows for table in waiting) >= ROWS:
                writer.write_table(pa.concat_tables(waiting), ROWS)
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), ROWS)
    return bytes(sink.getvalue())

"""Reads the history of a feature view: every event of it, once, as its deliverer wrote it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from psycopg.sql import SQL, Identifier

from clearwell.contract.features import FeatureView
from clearwell.destinations.features.history_files import IDENTITY, columns_of, events_folder, file_schema, in_columns
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import Session, connect
from clearwell.destinations.features.tiles import Entity
from clearwell.destinations.postgres.positions import SCHEMA
from clearwell.errors import ConfigError
from clearwell.pipeline.arrow import arrow_type
from clearwell.settings import Settings

_FILES = SQL(
    "SELECT file FROM {} WHERE view_name = %s AND first_time <= %s AND replaced_at IS NULL ORDER BY written_at, file"
).format(Identifier(SCHEMA, "offline"))

_HISTORY = SQL("""
SELECT file, written_at, first_time, last_time FROM {} WHERE view_name = %s AND replaced_at IS NULL
ORDER BY written_at, file
""").format(Identifier(SCHEMA, "offline"))
_IS_LISTED = SQL("SELECT 1 FROM {} WHERE view_name = %s AND file = %s AND replaced_at IS NULL").format(
    Identifier(SCHEMA, "offline")
)
Result = TypeVar("Result")


class ViewEvent(NamedTuple):
    """One event of a view: `row` holds the values of `columns_of(view)`; a late one is in no window."""

    row: tuple[Any, ...]
    topic: str
    partition: int
    offset: int
    late: bool


class HistoryFile(NamedTuple):
    """A file of a history: when it was written, and of when its events are."""

    file: str
    written: datetime
    first: datetime
    last: datetime


class MissingHistoryFile(ConfigError):
    """A file is not there: it was joined into another since it was listed (`again_where_joined`), or it was lost."""

    def __init__(self, folder: Folder, file: str) -> None:
        super().__init__(
            f"{file} is missing in {folder.shown}: bring it back, or set CLEARWELL_OFFLINE to where the deliverer "
            "writes."
        )
        self.file = file


def retry_where_joined(settings: Settings, view: FeatureView, work: Callable[[], Result]) -> Result:
    """What `work`, which lists files and reads them, returns; begun anew where a file was joined away meanwhile.

    Files stay for an hour after that, so few ever begin anew. Raises what `work` raises.
    """
    while True:
        try:
            return work()
        except MissingHistoryFile as error:
            with connect(settings.postgres, view) as session:
                if session.execute(_IS_LISTED, (view.name, error.file)).fetchone():
                    raise


def list_files(session: Session, view: FeatureView, until: datetime) -> list[str]:
    """The files that hold events up to `until`, as the session sees them. Raises what psycopg raises."""
    return [name for (name,) in session.execute(_FILES, (view.name, until)).fetchall()]


def list_history(session: Session, view: FeatureView) -> list[HistoryFile]:
    """All files of a history, as the session sees them. Raises what psycopg raises."""
    return [HistoryFile(*row) for row in session.execute(_HISTORY, (view.name,)).fetchall()]


def read(
    root: Folder,
    view: FeatureView,
    files: Sequence[str],
    until: datetime | None = None,
    keys: Sequence[Entity] | None = None,
) -> Iterator[ViewEvent]:
    """The events in `files` up to `until` (None: all of them), of the entities `keys` (None: of all).

    Raises MissingHistoryFile, ConfigError where a file can't be read, Retryable where the store is not well.
    """
    folder = events_folder(root, view.name)
    names, schema = [field.name for field in columns_of(view)], file_schema(columns_of(view))
    for table in (table for file in files for table in _tables(folder, file, schema)):
        if until is not None:
            type_ = schema.field(view.event_time).type
            table = table.filter(pc.less_equal(table[view.event_time], pa.scalar(until, type_)))
        if keys is not None:
            table = table.filter(_is_one_of(view, table, keys))
        columns = [column.to_pylist() for column in table.select([*names, *IDENTITY.names]).columns]
        for *row, topic, partition, offset, late in zip(*columns, strict=True):
            yield ViewEvent(tuple(row), topic, partition, offset, late)


def first_times(root: Folder, view: FeatureView, files: Sequence[str]) -> dict[Entity, datetime]:
    """The time of the earliest event in `files` of each entity that has one there. Raises as `read`."""
    folder, schema = events_folder(root, view.name), file_schema(columns_of(view))
    names, time = [key.name for key in view.entity.keys], view.event_time
    earliest: dict[Entity, datetime] = {}
    for table in (table for file in files for table in _tables(folder, file, schema)):
        firsts = table.group_by(names, use_threads=False).aggregate([(time, "min")])
        for *key, first in zip(*(firsts[name].to_pylist() for name in (*names, f"{time}_min")), strict=True):
            earliest[tuple(key)] = min(first, earliest.get(tuple(key), first))
    return earliest


def entities(root: Folder, view: FeatureView, files: Sequence[str]) -> list[Entity]:
    """All that have an event in `files`, in order. Raises as `read`."""
    return sorted(first_times(root, view, files))


def _tables(folder: Folder, file: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """A file in the columns of today's view, a row group at a time; what it was written without is null."""
    data = folder.get(file)
    if data is None:
        raise MissingHistoryFile(folder, file)
    try:
        # Without threads: a process that ends while Arrow's are still there may be aborted by the C++ runtime.
        file_reader = parquet.ParquetFile(io.BytesIO(data))
        for number in range(file_reader.num_row_groups):
            yield in_columns(schema, file_reader.read_row_group(number, use_threads=False))
    except pa.ArrowException as error:  # its text quotes values (invariant 9)
        raise ConfigError(
            f"{file} in {folder.shown} can't be read ({type(error).__name__}): bring it back from a backup."
        ) from None


def _is_one_of(view: FeatureView, table: pa.Table, keys: Sequence[Entity]) -> Any:
    """Which rows are of one of the entities: looked for column by column, then as a whole where there are several."""
    columns = view.entity.keys
    matches = None
    for number, column in enumerate(columns):
        values = pa.array([key[number] for key in keys], arrow_type(column))
        of_this = pc.is_in(table[column.name], value_set=values)
        matches = of_this if matches is None else pc.and_(matches, of_this)
    if len(columns) > 1:
        entities = set(keys)
        rows = zip(*(table[column.name].to_pylist() for column in columns), strict=True)
        matches = pc.and_(matches, pa.array([row in entities for row in rows]))
    return matches

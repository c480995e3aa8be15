"""What can be asked of the Delta tables of a lake, and the deletion of files that only old versions need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, QueryBuilder
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileType, PyFileSystem

from clearwell.destinations.lake.errors import Conflict, talking
from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.errors import ConfigError, Hint, Retryable

RETENTION = timedelta(days=7)
"""How long what a table was can be read: Delta's own default for files that a newer version no longer has."""

TARGET = 104_857_600
"""Bytes of a compacted file; files below it are joined. Delta's own default."""

TRIES = 5

Result = TypeVar("Result")


class LakeTableInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A table at one version, written `at`; `size` in bytes, `small` the files that compact would join."""

    table: str
    version: int
    at: datetime
    rows: int
    files: int
    size: int
    small: int


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One commit: what was done, and how many rows it added where that is known."""

    version: int
    at: datetime
    operation: str
    rows: int | None


def tables_of(root: Root, folders: tuple[str, ...]) -> list[str]:
    """The Delta tables below `folders` of a lake, as "folder/name", sorted. Raises ConfigError or Retryable."""
    if root.folder is not None and not root.folder.exists():
        return []
    with talking(root.place, "list its tables"):
        files = PyFileSystem(DeltaStorageHandler(root.place.url, root.place.client_options()))
        paths: list[str] = []
        for folder in folders:
            selector = FileSelector(folder, allow_not_found=True)
            paths += [entry.path for entry in files.get_file_info(selector) if entry.type == FileType.Directory]
    return sorted(paths)


def open_table(location: TableLocation, at: int | datetime | None = None) -> DeltaTable:
    """The table at a version, or as of a time; by default now. Raises ConfigError, also when it has no such version."""
    with talking(location, "read it"):
        table = DeltaTable(location.url, storage_options=location.client_options())
        if at is None:
            return table
        first, last = _oldest(table), table.version()
        if isinstance(at, int) and not first <= at <= last:
            raise ConfigError(f"{location.shown} has the versions {first} to {last}, not {at}.")
        table.load_as_version(at)
    return table


def info_of(name: str, table: DeltaTable) -> LakeTableInfo:
    """Its size, from its log alone."""
    files = pa.table(table.get_add_actions(flatten=True))
    small = sum(len(group) for group in _small(files))
    return LakeTableInfo(
        table=name,
        version=table.version(),
        at=_written_at(table),
        rows=int(pc.sum(files["num_records"]).as_py() or 0),
        files=files.num_rows,
        size=int(pc.sum(files["size_bytes"]).as_py() or 0),
        small=small,
    )


def columns_of(table: DeltaTable) -> pa.Schema:
    """Its columns at that version."""
    return pa.schema(table.schema().to_arrow())


def history_of(location: TableLocation, limit: int) -> list[TableVersion]:
    """The newest commits, newest first."""
    table = open_table(location)
    with talking(location, "read its history"):
        return [_version(entry) for entry in table.history(limit)]


def query(location: TableLocation, table: DeltaTable, sql: str) -> pa.Table:
    """What DataFusion answers; the table is called `t`."""
    with talking(location, "read its rows"):
        return pa.table(QueryBuilder().register("t", table).execute(sql).read_all())


def vacuum(location: TableLocation, older: timedelta, *, dry_run: bool, full: bool, force: bool = False) -> list[str]:
    """Delete files that no version of the last `older` needs; returns them.

    `full` also finds those of writers that died before their commit, by listing the whole table. `force` allows less
    than RETENTION, which may take files from under a reader, and from a writer that takes longer than that.
    """
    if older < RETENTION and not force:
        raise ConfigError(
            f"Less than {RETENTION.days} days would take files from under who reads an older version, and from slow "
            "writers.",
            code="retention_too_short",
            hint=Hint("lake.force"),
        )
    hours = int(older.total_seconds() // 3600)
    return insist(
        location,
        "vacuum it",
        lambda table: table.vacuum(hours, dry_run=dry_run, enforce_retention_duration=False, full=full),
    )


def insist(location: TableLocation, doing: str, attempt: Callable[[DeltaTable], Result]) -> Result:
    """`attempt` with the newest version of the table, from the top after each conflict."""
    for _ in range(TRIES):
        try:
            with talking(location, doing):
                return attempt(open_table(location))
        except Conflict:
            continue
    raise Retryable(f"Others change the Delta table {location.shown} all the time: {TRIES} tries were in vain.")


def _small(files: pa.Table) -> Iterator[list[int]]:
    """Sizes of the files that compact would join, by partition."""
    by = [name for name in files.column_names if name.startswith("partition.")]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in files.select([*by, "size_bytes"]).to_pylist():
        size = row.pop("size_bytes")
        if size < TARGET:
            groups.setdefault(tuple(row.values()), []).append(size)
    return (group for group in groups.values() if len(group) > 1)


def _oldest(table: DeltaTable) -> int:
    return min(int(entry["version"]) for entry in table.history())


def _written_at(table: DeltaTable) -> datetime:
    version = table.version()
    return _time(next(int(entry["timestamp"]) for entry in table.history() if entry["version"] == version))


def _version(entry: dict[str, Any]) -> TableVersion:
    metrics = entry.get("operationMetrics") or {}
    rows = metrics.get("num_added_rows")
    at = _time(int(entry["timestamp"]))
    return TableVersion(int(entry["version"]), at, str(entry["operation"]), None if rows is None else int(rows))


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)

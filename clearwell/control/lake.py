"""The Delta tables of a lake as people and programs see them: the platform's own lake, or a registered one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from clearwell.contract.model import ARCHIVE
from clearwell.control.platform import Platform
from clearwell.destinations.lake import archive, tables
from clearwell.destinations.lake import destination as lake_destination
from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.destinations.lake.tables import LakeTableInfo, TableVersion
from clearwell.errors import ConfigError, nearest
from clearwell.kafka.log_client import KafkaLog
from clearwell.plugins.lakes import lake_root
from clearwell.reconciliation.archive import PartitionArchive
from clearwell.reconciliation.archive import check_archive as compare_archive

LakeTables = Sequence[LakeTableInfo]

_FOLDERS = (archive.FOLDER, lake_destination.FOLDER)


class LakeListing(msgspec.Struct, frozen=True):
    """The tables of the lake that is at `lake`."""

    lake: str
    tables: LakeTables


class LakeTableDetails(LakeTableInfo, frozen=True, kw_only=True):
    """A table at one version: its columns with their types, and some of its rows, too."""

    columns: Mapping[str, str]
    rows_shown: Sequence[Mapping[str, Any]]


class ArchiveCheck(msgspec.Struct, frozen=True):
    """Whether an archive holds each raw event once, by partition."""

    stream: str
    balanced: bool
    partitions: Sequence[PartitionArchive]


def list_tables(platform: Platform, lake: str | None = None) -> LakeListing:
    """All tables, with their sizes. Raises ConfigError, or Retryable where the store is not well."""
    root = lake_root(platform.settings, lake)
    names = tables.tables_of(root, _FOLDERS)
    return LakeListing(
        root.place.shown, [tables.info_of(name, tables.open_table(_location(root, name))) for name in names]
    )


def show_table(
    platform: Platform, table: str, lake: str | None = None, *, at: int | datetime | None = None, rows: int = 5
) -> LakeTableDetails:
    """A table as it was at a version or a time, by default now, with so many rows; protected fields are envelopes.

    Raises ConfigError with the nearest name, or when there is no such version.
    """
    location = find_table(platform, table, lake)
    opened = tables.open_table(location, at)
    sample = tables.query(location, opened, f"SELECT * FROM t LIMIT {rows:d}").to_pylist()  # noqa: S608 - a number
    info = tables.info_of(table, opened)
    return LakeTableDetails(
        **msgspec.structs.asdict(info),
        columns={column.name: str(column.type) for column in tables.columns_of(opened)},
        rows_shown=[{name: _plain(value) for name, value in row.items()} for row in sample],
    )


def list_versions(platform: Platform, table: str, lake: str | None = None, limit: int = 20) -> Sequence[TableVersion]:
    """The newest versions of a table, newest first. Raises ConfigError with the nearest name."""
    return tables.history_of(find_table(platform, table, lake), limit)


def check_archive(platform: Platform, stream: str, lake: str | None = None) -> ArchiveCheck:
    """Compare the archive of a stream with its raw topic. Blocks. Raises ConfigError when there is no such archive."""
    root = lake_root(platform.settings, lake)
    _require(root, f"{archive.FOLDER}/{stream}")
    to = ARCHIVE if lake is None else f"{ARCHIVE}.{lake}"
    partitions = compare_archive(KafkaLog(platform.settings.kafka), root, stream, to)
    return ArchiveCheck(stream, all(partition.balanced for partition in partitions), partitions)


def find_table(platform: Platform, table: str, lake: str | None) -> TableLocation:
    """The location of a table that is there. Raises ConfigError (code "no_such_table") with the nearest name."""
    root = lake_root(platform.settings, lake)
    _require(root, table)
    return _location(root, table)


def _require(root: Root, table: str) -> None:
    known = tables.tables_of(root, _FOLDERS)
    if table not in known:
        hint = nearest(table, known) or f" There are: {', '.join(known) or 'none'}."
        raise ConfigError(f'There is no table "{table}" in {root.place.shown}.{hint}', code="no_such_table")


def _location(root: Root, table: str) -> TableLocation:
    return root.table(*table.split("/"))


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None) else str(value)

"""A lake table is read by DuckDB and Polars without us, and after it was compacted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from deltalake import DeltaTable

from clearwell.destinations.lake.compaction import compact
from clearwell.destinations.lake.destination import LakeDestination
from clearwell.destinations.lake.root import TableLocation
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, batches_of, some_events

EVENTS = some_events(5, 90, 30)
COLUMNS = ("id", "number", "_raw_offset")


def by_polars(table: str, since: int) -> list[Any]:
    """Filtered in the scan."""
    found = polars.scan_delta(table).filter(polars.col("number") >= since).select(COLUMNS).collect()
    return found.rows()


def by_duckdb(table: str, since: int) -> list[Any]:
    """Over the files of the newest version."""
    with duckdb.connect() as session:
        files = DeltaTable(table).file_uris()
        return session.execute(
            f"SELECT {', '.join(COLUMNS)} FROM read_parquet(?, hive_partitioning = true) WHERE number >= ?",
            [files, since],
        ).fetchall()


@pytest.mark.parametrize("read", [by_polars, by_duckdb])
def test_read_without_us(tmp_path: Path, read: Callable[[str, int], list[Any]]) -> None:
    made = LakeDestination(TableLocation(str(tmp_path / "table")), SIMPLE, "group")
    made.open()
    for batch in batches_of(EVENTS, made.claim(TOPIC, 0, 1), 10):
        made.write(batch)
    expected = sorted((one.id, one.number, one.raw_offset) for one in EVENTS if (one.number or 0) >= 20)
    assert sorted(read(str(tmp_path / "table"), 20)) == expected
    assert compact(TableLocation(str(tmp_path / "table"))).removed == 9
    assert sorted(read(str(tmp_path / "table"), 20)) == expected
    times = polars.scan_delta(str(tmp_path / "table")).select("at").collect()["at"]
    assert times.dtype == polars.Datetime("us", "UTC") and times.min() == min(one.at or START for one in EVENTS)

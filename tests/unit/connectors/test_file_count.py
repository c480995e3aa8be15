"""The file source counts what it reads, line by line and row by row: the account begins there (invariant 11)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clearwell.source import EVENT_LIMIT, Count, Counting
from connectors.file.config import FileConfig
from connectors.file.source import FileSource

BIG = b"x" * (EVENT_LIMIT + 5)


def counted(path: Path, **options: Any) -> tuple[int, Count]:
    """The number of events, and the count at the end."""

    async def collect() -> tuple[int, Count]:
        source = FileSource(FileConfig(path=str(path), **options))
        assert isinstance(source, Counting)
        events = 0
        async with aclosing(source.read(None)) as batches:  # type: ignore[type-var]
            async for batch, _ in batches:
                events += len(batch)
                assert source.count().read == events
        return events, source.count()

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("name", "content", "items"),
    [
        ("a.ndjson", b'\xef\xbb\xbf\n{"a":1}\r\n\r\n \t\nbroken\r' + BIG + b"\n{}", 4),
        ("a.csv", b'a,b\n\n1,2\n1\n3,"x\ny"\n5,"\n' + BIG + b"\n7,8\n", 6),
        ("a.csv", b"a,b\n", 0),
        ("a.json", b'[{"a":1}, nonsense, {"a":"' + BIG + b'"}]\n{"b":2}', 4),
    ],
    ids=["lines", "rows", "header", "records"],
)
def test_items_that_are_no_events_are_counted_as_they_are_refused(
    tmp_path: Path, name: str, content: bytes, items: int
) -> None:
    (tmp_path / name).write_bytes(content)
    assert counted(tmp_path / name, batch_events=2) == (items, Count(items, None, 0))


def test_parquet_files_say_how_many_rows_they_hold(tmp_path: Path) -> None:
    for number in range(3):
        pq.write_table(pa.table({"n": range(10 * number)}), tmp_path / f"{number}.parquet")
    assert counted(tmp_path, batch_events=4) == (30, Count(30, 30, 0))


def test_what_is_passed_over_is_a_figure(tmp_path: Path) -> None:
    for name in ("a.CSV", "b.csv", "c.csv.bz2", "d"):
        (tmp_path / name).write_bytes(b"a\n1\n")
    (tmp_path / "inside").mkdir()
    assert counted(tmp_path) == (2, Count(2, None, 3))
    assert counted(tmp_path / "d", format="csv") == (1, Count(1, None, 0)), "one that is named is read"


def test_a_watched_file_that_cannot_be_read_is_a_figure_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    (tmp_path / "b.txt").write_bytes(b"")

    async def follow() -> list[int | None]:
        source = FileSource(FileConfig(path=str(tmp_path), watch=True, settle_seconds=0, poll_seconds=0.01))
        figures = []
        async with aclosing(source.read(None)) as batches:  # type: ignore[type-var]
            await anext(batches)
            figures.append(source.count().passed_over)
            pq.write_table(pa.table({"n": [1]}), tmp_path / "new")
            (tmp_path / "new").rename(tmp_path / "a.parquet")
            events, _ = await anext(batches)
            assert len(events) == 1
            await anext(batches)
            figures.append(source.count().passed_over)
        return figures

    assert asyncio.run(follow()) == [2, 1]

"""A watched folder: files that are written slowly, are bad, come later or go. Nothing is lost, and the rest is told."""

from __future__ import annotations

import asyncio
import gzip
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.file.config import FileConfig, FilePosition
from connectors.file.source import FileSource
from tests.support.file_reading import append, line, lines, numbers, reading, write


def test_a_slow_writer_into_a_watched_folder_loses_no_line(tmp_path: Path) -> None:
    """As a file that is copied over a slow link, with pauses in the middle of a row and between rows."""
    path = tmp_path / "a.csv"
    write(path, b"id,n\n1,111111\n2,22")

    async def scenario() -> None:
        async with reading(tmp_path, watch=True, settle_seconds=0.1, columns={"n": "int"}) as taken:
            assert await taken.take(1) == [{"id": "1", "n": 111111}]
            await taken.nothing(0.3)
            append(path, b"2222\n3,333333\n")
            assert await taken.take(2) == [{"id": "2", "n": 222222}, {"id": "3", "n": 333333}]
            position = taken.position
        append(path, b"4,444444\n5,5")
        async with reading(tmp_path, position, watch=True, settle_seconds=0.1, columns={"n": "int"}) as again:
            assert await again.take(1) == [{"id": "4", "n": 444444}]
            assert await again.take(1) == [{"id": "5", "n": 5}], "nobody ends the last line: it is whole at some time"
            await again.nothing(0.1)
            assert len({*taken.ids, *again.ids}) == 5

    asyncio.run(scenario())


def test_a_last_line_that_is_an_object_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", b'{"n":1}\n{"n":2}')

    async def scenario() -> None:
        async with reading(tmp_path, watch=True, settle_seconds=0.02) as taken:
            assert numbers(await taken.take(2)) == [1, 2]

    asyncio.run(scenario())


def _parquet(number: int) -> bytes:
    written = BytesIO()
    pq.write_table(pa.table({"n": [number]}), written)
    return written.getvalue()


BAD: dict[str, bytes] = {
    "a.csv": b"",
    "b.csv": b"n,n\n1,2\n",
    "c.ndjson.gz": gzip.compress(lines(0, 100), mtime=0)[:-9],
    "d.parquet": _parquet(1)[:-3],
    "e.json": b'[{"n":1},',
}


def test_no_bad_file_stops_later_ones_and_each_is_told_and_read_when_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "f.csv").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "z.ndjson", line(9))

    source = FileSource(FileConfig(path=str(tmp_path), watch=True))
    source.check()
    assert source.discover()[0].fields == {"n": "int64"}

    async def scenario() -> None:
        async with reading(tmp_path, watch=True, settle_seconds=0.02) as taken:
            await taken.until(lambda: "z.ndjson#0" in taken.ids)
            write(tmp_path / "a.csv", b"n\n7\n")
            await taken.until(lambda: {"n": "7"} in taken.rows)
            write(tmp_path / "c.ndjson.gz", gzip.compress(lines(0, 100), mtime=0))
            write(tmp_path / "d.parquet", _parquet(5))
            write(tmp_path / "e.json", b'[{"n":1}, {"n":2}]')
            await taken.until(lambda: len(set(taken.ids)) == 1 + 1 + 100 + 1 + 2)
            assert len(taken.ids) == len(set(taken.ids)), "nothing comes twice"
            await taken.nothing(0.1)
        async with reading(tmp_path, taken.position, watch=True, settle_seconds=0.02) as again:
            await again.nothing(0.3)

    asyncio.run(scenario())
    for name in ("b.csv", "c.ndjson.gz", "d.parquet", "e.json"):
        assert f"{name} " in caplog.text or f"of {name} " in caplog.text
    assert "f.csv" in caplog.text


def test_a_finished_file_that_is_replaced_is_told_and_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.parquet"
    write(path, _parquet(1))

    async def scenario() -> None:
        async with reading(tmp_path, watch=True) as taken:
            assert numbers(await taken.take(1)) == [1]
            pq.write_table(pa.table({"n": list(range(500))}), path)
            await taken.nothing(0.4)

    asyncio.run(scenario())
    assert "a.parquet has changed since it was read" in caplog.text


def test_a_file_that_goes_while_others_wait_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path / "b.ndjson", lines(0, 10))
    position = FilePosition(file="a.ndjson", offset=24, done=[])

    async def scenario() -> None:
        async with reading(tmp_path, position, watch=True, batch_events=3) as taken:
            assert numbers(await taken.take(10)) == list(range(10))
            assert all(one.startswith("b.ndjson") for one in taken.ids)

    asyncio.run(scenario())

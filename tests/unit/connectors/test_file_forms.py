"""The file source beyond plain text files: watched folders, files that change while read, zstd, Parquet, URLs, size."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from clearwell.errors import ClearwellError, ConfigError
from clearwell.source import Batch
from connectors.file import finished_files as file_finished
from connectors.file.config import FileConfig, FilePosition
from connectors.file.finished_files import Finished
from connectors.file.source import FileSource


def source(path: Path | str, **options: Any) -> FileSource:
    """A source of what `path` names."""
    return FileSource(FileConfig(**{"path": str(path), "poll_seconds": 0.02, "settle_seconds": 0.0, **options}))


def read(
    path: Path | str, after: FilePosition | None = None, *, until: int | None = None, **options: Any
) -> list[Batch]:
    """All batches, or those until so many events came and the file they are of was finished."""

    async def collect() -> list[Batch]:
        found: list[Batch] = []
        async with asyncio.timeout(20), aclosing(source(path, **options).read(after)) as batches:
            async for batch in batches:
                found.append(batch)
                if until is not None and not batch[0] and len(ids(found)) >= until:
                    break
        return found

    return asyncio.run(collect())


def ids(batches: list[Batch]) -> list[str]:
    """The ids of all events."""
    return [event.id for events, _ in batches for event in events]


def rows(batches: list[Batch]) -> list[Any]:
    """The events as they were decoded, decimals exactly."""
    return [json.loads(event.data, parse_float=Decimal) for events, _ in batches for event in events]


def test_a_watched_folder_takes_late_files_once_and_forgets_removed_ones(tmp_path: Path) -> None:
    for name in ("b", "d"):
        (tmp_path / f"{name}.ndjson").write_bytes(b'{"n":1}\n')
    first = read(tmp_path, until=2, watch=True)
    assert ids(first) == ["b.ndjson#0", "d.ndjson#0"]
    (tmp_path / "d.ndjson").unlink()
    for name in ("a", "c"):
        (tmp_path / f"{name}.ndjson").write_bytes(b'{"n":2}\n')
    last = first[-1][1]
    assert isinstance(last, FilePosition)
    assert ids(read(tmp_path, last, until=2, watch=True)) == ["a.ndjson#0", "c.ndjson#0"]


def test_a_watched_file_that_grows_is_not_taken_yet(tmp_path: Path) -> None:
    growing = tmp_path / "a.ndjson"
    growing.write_bytes(b"")
    (tmp_path / "b.ndjson").write_bytes(b'{"n":1}\n')

    async def watch() -> list[str]:
        watched = source(tmp_path, watch=True)
        look = watched._store.find
        lines = 0

        def grow() -> Any:
            nonlocal lines
            if lines < 5:
                with growing.open("ab") as file:
                    file.write(b'{"n":%d}\n' % lines)
                lines += 1
            return look()

        watched._store.find = grow  # type: ignore[method-assign]
        found: list[Batch] = []
        async with asyncio.timeout(20), aclosing(watched.read(None)) as batches:
            async for batch in batches:
                found.append(batch)
                if len(ids(found)) >= 6:
                    return ids(found)
        return []

    assert asyncio.run(watch()) == ["b.ndjson#0", *(f"a.ndjson#{8 * n}" for n in range(5))]


def test_what_is_finished_stays_small_and_never_covers_an_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_finished, "LIMIT", 10)
    names = [f"{n:04}" for n in range(300)]
    finished = Finished([], "")
    for name in names:
        if name != "0100":
            finished.add(name)
        if name < "0100":
            finished.look(names)
            assert len(finished.names) <= 11
            assert (name in finished) and ("0100" not in finished)
    finished.look(names)
    assert "0100" not in finished and "0099" in finished and "0299" in finished
    finished.add("0100")
    finished.look(names)
    assert all(name in finished for name in names) and len(finished.names) <= 150
    again = Finished(finished.names, finished.floor)
    assert all(name in again for name in names) and "0300" not in again


def _cut(path: Path) -> None:
    os.truncate(path, 20)


def _rotate(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(b'{"n":1}\n' * 10_000)


@pytest.mark.parametrize("harm", [_cut, _rotate])
def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(b'{"n":%d,"x":"%s"}\n' % (n, b"x" * 1_000) for n in range(5_000)))

    async def collect() -> None:
        async with aclosing(source(path, batch_events=100).read(None)) as batches:
            await anext(batches)
            harm(path)
            async for _ in batches:
                pass

    with pytest.raises(ConfigError, match="cut or replaced"):
        asyncio.run(collect())


def test_packed_content_is_told_by_its_bytes_and_a_cut_is_noticed(tmp_path: Path) -> None:
    lines = b"".join(b'{"n":%d,"r":"%s"}\n' % (n, os.urandom(50).hex().encode()) for n in range(3_000))
    (tmp_path / "a.ndjson").write_bytes(zstandard.compress(lines))
    (tmp_path / "b.ndjson").write_bytes(gzip.compress(lines))
    assert [row["n"] for row in rows(read(tmp_path))] == [*range(3_000)] * 2
    (tmp_path / "a.ndjson").write_bytes(zstandard.compress(lines)[:-300])
    with pytest.raises(ConfigError, match="damaged or cut off"):
        read(tmp_path / "a.ndjson")


def test_parquet_loses_nothing(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    table = pa.table(
        {
            "id": ["a", None],
            "price": pa.array([Decimal("12345678901234567890.12"), None], pa.decimal128(38, 2)),
            "at": pa.array([at, None], pa.timestamp("us", "UTC")),
            "fine": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns")),
            "day": pa.array([date(2026, 1, 2), None]),
            "x": [float("nan"), float("-inf")],
            "raw": pa.array([b"\xff\x00", None]),
            "deep": [{"a": [1.5, float("inf")]}, None],
            "big": pa.array([2**64 - 1, None], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    batches = read(tmp_path / "a.parquet", id_field="id", batch_events=1)
    assert ids(batches) == ["a", "a.parquet#1"]
    first, second = rows(batches)
    assert first == {
        "id": "a",
        "price": "12345678901234567890.12",
        "at": "2026-01-02T03:04:05.678901Z",
        "fine": "2023-11-14T22:13:20.123456789",
        "day": "2026-01-02",
        "x": "NaN",
        "raw": "/wA=",
        "deep": {"a": [Decimal("1.5"), "Infinity"]},
        "big": "18446744073709551615",
    }
    assert second["x"] == "-Infinity" and second["price"] is None
    assert source(tmp_path / "a.parquet").discover()[0].fields["price"] == "decimal"


def test_a_damaged_or_replaced_parquet_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": range(100)}), path)
    _, position = read(path, batch_events=60)[0]
    pq.write_table(pa.table({"n": range(10)}), path)
    assert isinstance(position, FilePosition)
    with pytest.raises(ConfigError, match="shorter than the 60 rows"):
        read(path, position)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="damaged or cut off"):
        source(path).check()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Files, a redirect to an address that clouds keep credentials at, and refusals."""
        if self.path.startswith("/metadata"):
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/events.ndjson")
            self.end_headers()
        elif self.path.startswith("/private"):
            self.send_error(403)
        elif self.path.startswith("/broken"):
            self.send_error(503)
        else:
            super().do_GET()

    do_HEAD = do_GET  # noqa: RUF100


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server of the test's folder."""
    handler: type[BaseHTTPRequestHandler] = partial(_Quiet, directory=tmp_path)  # type: ignore[assignment]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_on_the_web(tmp_path: Path, web: str) -> None:
    lines = b"".join(b'{"n":%d}\n' % n for n in range(5_000))
    (tmp_path / "events.ndjson.gz").write_bytes(gzip.compress(lines))
    batches = read(f"{web}/events.ndjson.gz", batch_events=1_500)
    assert [row["n"] for row in rows(batches)] == [*range(5_000)]
    after = batches[1][1]
    assert isinstance(after, FilePosition) and after.file == "events.ndjson.gz"
    assert ids(batches[2:]) == ids(read(f"{web}/events.ndjson.gz", after))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing.ndjson", "does not exist"),
        ("/private.ndjson?token=hush", "check the credentials"),
        ("/broken.ndjson", "503"),
        ("/metadata.ndjson", "may not be reached"),
    ],
)
def test_what_the_web_answers_is_told(web: str, path: str, said: str) -> None:
    with pytest.raises(ClearwellError, match=said) as told:
        source(web + path).check()
    assert "hush" not in str(told.value)


def test_addresses_are_judged_before_connecting(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWELL_EGRESS_ALLOW", "events.example.com")
    options = {"endpoint_url": web, "key": "k"}
    for path, more in ((f"{web}/a.ndjson", {}), ("s3://bucket/a.ndjson", options), ("github://a:b@/c.ndjson", {})):
        with pytest.raises(ConfigError, match=r"may (not )?be reached"):
            source(path, storage_options=more).check()


MEASURE = """
import asyncio, resource, sys
from connectors.file.config import FileConfig
from connectors.file.source import FileSource

async def count():
    n = 0
    async for events, _ in FileSource(FileConfig(path=sys.argv[1])).read(None):
        n += len(events)
        if n == len(events):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(n, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)

asyncio.run(count())
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_large_file_takes_little_memory(tmp_path: Path, suffix: str) -> None:
    """400 MB of lines in a small file: memory grows by less than 64 MB after the first batch."""
    block = b"".join(b'{"n":%06d,"x":"%s"}\n' % (n, b"x" * 380) for n in range(10_000))
    pack = partial(gzip.compress, compresslevel=1) if suffix == "gz" else zstandard.compress
    (tmp_path / f"big.ndjson.{suffix}").write_bytes(pack(block) * 100)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / f"big.ndjson.{suffix}")],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    count, grown = map(int, done.stdout.split())
    assert count == 1_000_000
    assert grown < 64

"""Files that grow, rotate, are cut, or are written slowly: nothing is lost, cut or read twice, and the rest is told."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clearwell.errors import ConfigError
from connectors.file.source import FileConfig, FilePosition, FileSource


class Reading:
    """A source that is being read; what came of it."""

    def __init__(self, config: FileConfig, after: FilePosition | None) -> None:
        self.ids: list[str] = []
        self.rows: list[Any] = []
        self.position: FilePosition | None = after
        self._source = FileSource(config)
        self._taken = 0
        self._task = asyncio.create_task(self._read(after))

    async def _read(self, after: FilePosition | None) -> None:
        async with aclosing(self._source.read(after)) as batches:  # type: ignore[type-var]
            async for events, position in batches:
                self.position = cast(FilePosition, position)
                self.ids += [one.id for one in events]
                self.rows += [one.refused or _decoded(one.data) for one in events]

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait; raises what the source raised."""
        async with asyncio.timeout(15):
            while not enough():
                if self._task.done():
                    await self._task
                    raise AssertionError(f"The source ended after {self.rows}.")
                await asyncio.sleep(0.005)

    async def take(self, count: int) -> list[Any]:
        """The next rows: so many, or more that came with them."""
        await self.until(lambda: len(self.rows) >= self._taken + count)
        begun, self._taken = self._taken, self._taken + count
        return self.rows[begun : self._taken]

    async def nothing(self, seconds: float) -> None:
        """Assert that nothing comes for a while."""
        before = len(self.rows)
        await asyncio.sleep(seconds)
        assert len(self.rows) == before, f"Came: {self.rows[before:]}."

    async def ended(self) -> None:
        """Wait until the source ends by itself; raises what it raised."""
        async with asyncio.timeout(15):
            await self._task

    async def close(self) -> None:
        """End it."""
        await self._source.close()
        await asyncio.wait({self._task}, timeout=10)  # what is cancelled is the conformance suite's matter
        self._task.cancel()
        await asyncio.wait({self._task})


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


@asynccontextmanager
async def reading(path: Path, after: FilePosition | None = None, **options: Any) -> AsyncIterator[Reading]:
    """A source that looks often."""
    config: Any = {"path": str(path), "poll_seconds": 0.01, "settle_seconds": 0.05, **options}
    made = Reading(FileConfig(**config), after)
    try:
        yield made
    finally:
        await made.close()


def line(number: int) -> bytes:
    """An event."""
    return b'{"n":%d}\n' % number


def lines(first: int, last: int) -> bytes:
    """Events from one number to before another."""
    return b"".join(line(n) for n in range(first, last))


def write(path: Path, content: bytes) -> None:
    """A file of just that, in its place."""
    path.write_bytes(content)


def rotate(path: Path) -> Path:
    """The file gets another name."""
    return path.rename(path.with_suffix(".1"))


def replace(path: Path, content: bytes) -> None:
    """Another file takes its place at once."""
    other = path.with_name("new")
    other.write_bytes(content)
    other.replace(path)


def remove(path: Path) -> None:
    """It is gone."""
    path.unlink()


def append(path: Path, content: bytes) -> None:
    """Write at the end."""
    with path.open("ab") as file:
        file.write(content)


def numbers(rows: list[Any]) -> list[int]:
    """Of events."""
    return [row["n"] for row in rows]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A followed file of three events, and a part of the fourth."""
    path = tmp_path / "app.log"
    write(path, lines(0, 3) + b'{"n"')
    return path


def follow(path: Path, after: FilePosition | None = None) -> Any:
    """A follower."""
    return reading(path, after, follow=True, format="ndjson")


def test_a_follower_goes_on_with_the_file_that_replaces_its_own(log: Path) -> None:
    async def scenario() -> None:
        async with follow(log) as taken:
            assert numbers(await taken.take(3)) == [0, 1, 2]
            append(log, b":3}\n")
            assert numbers(await taken.take(1)) == [3]
            rotate(log)
            append(log.with_suffix(".1"), line(4))  # by a writer that has not noticed yet
            await taken.nothing(0.0)
            write(log, lines(5, 7))
            append(log.with_suffix(".1"), b'{"n":44}')
            await taken.until(lambda: len(taken.rows) >= 8)
            assert numbers(taken.rows) == [0, 1, 2, 3, 4, 44, 5, 6]
            assert len(set(taken.ids)) == 8 and taken.ids[-2:] == ["app.log~1#0", "app.log~1#8"]
            replace(log, lines(7, 9))
            await taken.until(lambda: len(taken.rows) >= 10)
            assert numbers(taken.rows[8:]) == [7, 8]
            position = taken.position
        append(log, line(9))
        async with follow(log, position) as again:
            assert numbers(await again.take(1)) == [9]
            assert again.ids == ["app.log~2#16"]

    asyncio.run(scenario())


@pytest.mark.parametrize("after_cut", [lines(10, 12), lines(10, 40)], ids=["shorter", "longer"])
def test_a_follower_reads_a_file_that_was_cut_from_its_beginning(
    log: Path, caplog: pytest.LogCaptureFixture, after_cut: bytes
) -> None:
    async def scenario() -> None:
        async with follow(log) as taken:
            await taken.take(3)
            await taken.nothing(0.05)
            with log.open("r+b") as file:  # at once, so that no look sees it empty
                file.write(after_cut)
                file.truncate()
            count = after_cut.count(b"\n")
            assert numbers(await taken.take(count)) == list(range(10, 10 + count))
            assert len(set(taken.ids)) == 3 + count
            await taken.nothing(0.05)

    asyncio.run(scenario())
    assert "app.log was cut" in caplog.text


@pytest.mark.parametrize("how", ["rotated", "cut", "rotated and packed", "copied back", "nothing"])
def test_a_follower_finds_its_file_again(log: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """What happened while nobody read."""

    async def scenario() -> list[int]:
        async with follow(log) as taken:
            await taken.take(3)
            position = taken.position
        append(log, b":3}\n")
        if how == "cut":
            write(log, lines(4, 9))
        elif how == "copied back":
            replace(log, lines(0, 5))
        elif how != "nothing":
            rotate(log)
            write(log, line(4))
            if how == "rotated and packed":
                write(log.with_suffix(".1.gz"), gzip.compress(lines(0, 4)))
                remove(log.with_suffix(".1"))
        expected = {"cut": 5, "rotated and packed": 1, "nothing": 1}.get(how, 2)
        async with follow(log, position) as again:
            await again.until(lambda: len(again.rows) >= expected)
            return numbers(again.rows)

    expected = {"cut": [4, 5, 6, 7, 8], "rotated and packed": [4], "nothing": [3]}.get(how, [3, 4])
    assert asyncio.run(scenario()) == expected
    assert ("are not read" in caplog.text) is (how in ("cut", "rotated and packed"))


def test_a_follower_waits_for_a_file_that_is_away_for_a_moment(log: Path) -> None:
    async def scenario() -> None:
        async with follow(log) as taken:
            await taken.take(3)
            position = taken.position
            remove(log)
            await taken.until(lambda: taken.rows[3:] == [b'{"n"'])
            await taken.nothing(0.1)
            write(log, lines(8, 9))
            await taken.until(lambda: {"n": 8} in taken.rows)
        remove(log)
        async with follow(log, position) as again:
            await again.nothing(0.1)
            write(log, lines(9, 10))
            assert numbers(await again.take(1)) == [9]

    asyncio.run(scenario())


def test_a_row_over_several_lines_is_followed_until_its_quotes_close(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(path, b"id,")

    async def scenario() -> None:
        async with reading(path, follow=True) as taken:
            await taken.nothing(0.05)
            append(path, b's\n1,x\n2,"first')
            assert await taken.take(1) == [{"id": "1", "s": "x"}]
            append(path, b"\nsecond\n")
            await taken.nothing(0.05)
            append(path, b'third"\n3,y\n')
            assert await taken.take(2) == [{"id": "2", "s": "first\nsecond\nthird"}, {"id": "3", "s": "y"}]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "content", [gzip.compress(line(0)), lines(0, 1).decode().encode("utf-16")], ids=["packed", "UTF-16"]
)
def test_what_can_not_be_followed_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ndjson"
    write(path, content)
    with pytest.raises(ConfigError, match="can't be followed"):
        FileSource(FileConfig(path=str(path), follow=True)).check()
    with pytest.raises(ConfigError, match="needs a file of this machine"):
        FileSource(FileConfig(path="memory://a.ndjson", follow=True))


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


def test_a_file_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, lines(0, 1_000))

    async def scenario() -> None:
        async with reading(path, batch_events=100) as taken:
            await taken.take(100)
            remove(path)
            await taken.take(900)
            await taken.ended()

    asyncio.run(scenario())


def test_a_file_written_anew_while_nobody_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, lines(100, 200))

    async def scenario() -> None:
        async with reading(path, batch_events=10) as taken:
            await taken.take(10)
        path.write_bytes(lines(500, 900))  # a line ends where reading stopped
        async with reading(path, taken.position) as again:
            await again.take(1)

    with pytest.raises(ConfigError, match="has changed"):
        asyncio.run(scenario())

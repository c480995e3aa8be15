"""Files that grow, rotate, are cut, or are written slowly: nothing is lost, cut or read twice, and the rest is told."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest

from clearwell.errors import ConfigError
from connectors.file.config import FileConfig, FilePosition
from connectors.file.source import FileSource
from tests.support.file_reading import append, line, lines, numbers, reading, remove, replace, rotate, write


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

"""Reading a source `file` in the background, and what happens to its files meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from connectors.file.config import FileConfig, FilePosition
from connectors.file.source import FileSource


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

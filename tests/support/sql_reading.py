"""Reading a source `sql`: to the end, or in the background while rows come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from clearwell.source import SourceEvent, stored_position
from connectors.sql.position import SqlPosition
from connectors.sql.source import SqlSource, SqlSourceConfig


class Follower:
    """A source that is read in the background."""

    def __init__(self, config: dict[str, Any], after: SqlPosition | None = None) -> None:
        self.source = SqlSource(msgspec.convert(config, SqlSourceConfig))
        self.position: Any = after
        self.events: list[SourceEvent] = []
        self._reading = asyncio.ensure_future(self._read(after))

    async def _read(self, after: SqlPosition | None) -> None:
        async for events, position in self.source.read(after):
            self.events += events
            self.position = position

    async def until(self, count: int, seconds: float = 20.0) -> list[str]:
        """The ids in the rows, in the order of reading, once there are `count`."""
        async with asyncio.timeout(seconds):
            while len(self.events) < count:
                if self._reading.done():
                    self._reading.result()
                await asyncio.sleep(0.02)
        return self.ids()

    async def quiet(self, seconds: float = 0.5) -> None:
        """Nothing more comes for a while."""
        before = len(self.events)
        await asyncio.sleep(seconds)
        more = self.events[before:]
        assert not more, f"{[event.data for event in more]} came"

    def ids(self) -> list[str]:
        return [msgspec.json.decode(event.data)["id"] for event in self.events]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self.source.close()


@asynccontextmanager
async def following(config: dict[str, Any], after: SqlPosition | None = None) -> AsyncIterator[Follower]:
    follower = Follower(config, after)
    try:
        yield follower
    finally:
        await follower.close()


def whole(config: dict[str, Any], after: SqlPosition | None = None) -> tuple[list[SourceEvent], Any]:
    """All events to the end, and the last position as the registry gives it back."""

    async def read() -> tuple[list[SourceEvent], Any]:
        source = SqlSource(msgspec.convert(config, SqlSourceConfig))
        events: list[SourceEvent] = []
        position: Any = after
        async for batch, reached in source.read(after):
            events, position = events + batch, reached
        await source.close()
        return events, position

    events, position = asyncio.run(read())
    kept = None if position is None else msgspec.json.decode(msgspec.json.encode(position))
    return events, stored_position(kept, SqlPosition)


def rows_of(events: Sequence[SourceEvent]) -> list[Any]:
    return [msgspec.json.decode(event.data) for event in events]

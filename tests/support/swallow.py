"""A way to a server through which open connections can be made to swallow: taken from, acknowledged, never answered.

As behind a firewall that forgot them, or a proxy that lost its server. Connections that are made afterwards work.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from clearwell.local.ports import LOOPBACK


class Swallower:
    """Passes bytes between `port` and the server behind it."""

    def __init__(self, port_behind: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._behind, self._loop = port_behind, loop
        self._open: set[int] = set()
        self._swallowed: set[int] = set()
        self._number = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    def swallow(self) -> int:
        """Swallow on all connections that are open now; how many there are."""
        return asyncio.run_coroutine_threadsafe(self._swallow(), self._loop).result(10)

    async def close(self) -> None:
        """Cut all that is open."""
        serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)  # the transports close at the loop's next turns

    async def start(self) -> None:
        self._server = server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _swallow(self) -> int:
        self._swallowed |= self._open
        return len(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        number = self._number
        self._open.add(number)
        self._writers.append(writer)
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._behind)
        self._writers.append(far_writer)
        try:
            ways = (self._pass(number, reader, far_writer), self._pass(number, far_reader, writer))
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._open.discard(number)
            far_writer.transport.abort()
            writer.transport.abort()

    async def _pass(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while some := await reader.read(65_536):
                if number not in self._swallowed:
                    writer.write(some)
                    await writer.drain()
        if number not in self._swallowed:
            writer.close()


@contextlib.contextmanager
def swallower_to(port_behind: int) -> Iterator[Swallower]:
    """A way to the server at `port_behind` of this machine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="swallower", daemon=True)
    thread.start()
    way = Swallower(port_behind, loop)
    asyncio.run_coroutine_threadsafe(way.start(), loop).result(10)
    try:
        yield way
    finally:
        asyncio.run_coroutine_threadsafe(way.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

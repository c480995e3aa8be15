"""A way to a server that can be shut: while it is, connections are refused, and those that were there are cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from clearwell.local.ports import LOOPBACK


class Way:
    """Passes bytes between `port` and a server behind it, as long as it is open."""

    def __init__(self, port_behind: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._behind = port_behind
        self._loop = loop
        self._listening: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Let connections through, on the same port as before."""
        self._wait(self._open())

    def shut(self) -> None:
        """Refuse new connections, and cut those that are there."""
        self._wait(self._shut())

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._listening = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for one in self._passing:
            one.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._passing.add(me)
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._behind)
        with contextlib.suppress(asyncio.CancelledError):  # by shut
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, far_writer))
                both.create_task(_pass_on(far_reader, writer))
        self._passing.discard(me)
        writer.transport.abort()
        far_writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    writer.transport.abort()


@contextmanager
def way_to(port_behind: int) -> Iterator[Way]:
    """An open way to the server at `port_behind` of this machine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="way")
    thread.start()
    way = Way(port_behind, loop)
    way.open()
    try:
        yield way
    finally:
        way.shut()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

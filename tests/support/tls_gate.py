"""TLS before a Postgres that has none (the wheel's is built so): answers the SSLRequest, then passes bytes on."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clearwell.local.ports import LOOPBACK

_SSL_REQUEST = struct.pack("!II", 8, 80877103)  # "SSLRequest" of PostgreSQL's protocol, section "Message Formats"


class Gate:
    """`port` is where it listens; `sessions` counts the connections that came to an agreement on TLS."""

    def __init__(self, port_behind: int, server: Path) -> None:
        self.port = 0
        self.sessions = 0
        self._behind = port_behind
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server)

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as ended:
            ended.callback(lambda: writer.transport.abort())
            ended.enter_context(contextlib.suppress(OSError, asyncio.IncompleteReadError))
            if await reader.readexactly(8) != _SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(self._context)
            self.sessions += 1
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._behind)
            ended.callback(far_writer.transport.abort)
            ways = [_pass_on(reader, far_writer), _pass_on(far_reader, writer)]
            await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()


@contextmanager
def tls_gate(port_behind: int, server: Path) -> Iterator[Gate]:
    """A gate before the Postgres at `port_behind`, with the key and certificate of the file `server`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tls gate")
    thread.start()

    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, loop)
        return done.result(10)

    gate = Gate(port_behind, server)
    listening = wait(gate.listen())
    try:
        yield gate
    finally:
        loop.call_soon_threadsafe(listening.close)
        wait(_end_all())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)  # transports that were aborted close with the loop's next rounds

"""A WebSocket on this machine that goes on after the number it is told in the first message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from clearwell.settings import Settings
from tests.support.web_server import Numbered, WebServer

TOKEN = "token-of-the-test"


class WebSocketCase:
    """`/feed` waits for {"after": N | null}, sends the messages after it, and then what comes."""

    kind = "websocket"
    finite = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(TOKEN)
        self._numbered = Numbered()
        self.server = WebServer(self.answer)
        self.config: dict[str, Any] = {
            "url": f"{self.server.url.replace('http', 'ws')}/feed",
            "auth": {"type": "basic", "username": "reader", "password": f"${{file:{folder / 'token'}}}"},
            "subscribe": {"after": None},
            "resume": {"after": "$position"},
            "position_field": "n",
            "id_field": "id",
        }
        self.fill, self.put = self._numbered.fill, self._numbered.put

    @property
    def broken(self) -> Mapping[str, Mapping[str, Any]]:
        """What people get wrong."""
        return {
            "another password": {"auth": {"type": "basic", "username": "reader", "password": "wrong"}},
            "no such path": {"url": f"{self.server.url.replace('http', 'ws')}/nothing"},
            "no WebSocket": {"url": f"{self.server.url.replace('http', 'ws')}/html"},
            "no server": {"url": "ws://127.0.0.1:9/feed"},
            "no URL": {"url": "http://127.0.0.1/feed"},
            "nothing to go on by": {"position_field": None},
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The feed."""
        if request.path == "/html":
            return web.Response(text="<!doctype html>", content_type="text/html")
        if request.path != "/feed":
            return web.Response(status=404)
        if request.headers.get("Authorization") != "Basic cmVhZGVyOnRva2VuLW9mLXRoZS10ZXN0":
            return web.Response(status=401)
        socket = web.WebSocketResponse(heartbeat=None)
        await socket.prepare(request)
        first = await socket.receive()
        if first.type is not WSMsgType.TEXT:
            return socket
        after = json.loads(first.data)["after"]
        reading = asyncio.ensure_future(_answer_pings(socket))
        sent, events = 0 if after is None else int(after) + 1, self._numbered.events
        reading.add_done_callback(lambda _: self._numbered.changes.happened())
        while not reading.done():
            while sent < len(events):  # more may come while these are sent
                await socket.send_frame(events[sent], WSMsgType.TEXT)
                sent += 1
            await self._numbered.changes.until(lambda: reading.done() or len(events) > sent)  # noqa: B023
        return socket

    def number(self, data: bytes) -> int:
        """The event's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """End the server."""
        self.server.close()


async def _answer_pings(socket: web.WebSocketResponse) -> None:
    """Until the client closes the connection."""
    async for _ in socket:
        pass


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> WebSocketCase:
    """A feed of its own."""
    return WebSocketCase(folder / unique("feed"))

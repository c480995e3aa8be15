"""A stream of server-sent events on this machine, whose ids are numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from clearwell.settings import Settings
from tests.support.web_server import Numbered, WebServer

TOKEN = "token-of-the-test"


class SseCase:
    """`/events` sends what there is after `Last-Event-ID`, and then what comes; `per_write` events at a time."""

    kind = "sse"
    finite = False

    def __init__(self, folder: Path, per_write: int = 3) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(TOKEN)
        self._numbered = Numbered()
        self._per_write = per_write
        self.server = WebServer(self.answer)
        self.config: dict[str, Any] = {
            "url": f"{self.server.url}/events",
            "auth": {"type": "header", "name": "X-Api-Key", "value": f"${{file:{folder / 'token'}}}"},
        }
        self.fill, self.put = self._numbered.fill, self._numbered.put

    @property
    def broken(self) -> Mapping[str, Mapping[str, Any]]:
        """What people get wrong."""
        return {
            "another key": {"auth": {"type": "header", "name": "X-Api-Key", "value": "wrong"}},
            "no such path": {"url": f"{self.server.url}/nothing"},
            "no stream": {"url": f"{self.server.url}/html"},
            "no server": {"url": "http://127.0.0.1:9/events"},
            "no URL": {"url": "ftp://127.0.0.1/events"},
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The stream."""
        if request.path == "/html":
            return web.Response(text="<!doctype html>", content_type="text/html")
        if request.path != "/events":
            return web.Response(status=404)
        if request.headers.get("X-Api-Key") != TOKEN:
            return web.Response(status=401)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        sent = int(request.headers.get("Last-Event-ID", -1)) + 1
        events = self._numbered.events
        while True:
            while here := list(enumerate(events[sent : sent + self._per_write], sent)):  # more may come meanwhile
                await response.write(b"".join(b"id: %d\ndata: %s\n\n" % one for one in here))
                sent += len(here)
            await self._numbered.changes.until(lambda: len(events) > sent)  # noqa: B023 - awaited here

    def number(self, data: bytes) -> int:
        """The event's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """End the server."""
        self.server.close()


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> SseCase:
    """A stream of its own."""
    return SseCase(folder / unique("stream"), per_write=100)

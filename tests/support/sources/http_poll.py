"""A JSON API on this machine that speaks every way of paging at once, and lets only the bearer of a token in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from clearwell.settings import Settings
from tests.support.web_server import Numbered, WebServer

TOKEN = "token-of-the-test"


class HttpPollCase:
    """`/items` gives pages of `size` events by `cursor`, `page`, `offset` or `since` (the number of the event)."""

    kind = "http_poll"

    def __init__(self, folder: Path, size: int = 5, every: float | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(TOKEN)
        self._numbered = Numbered()
        self._size = size
        self.server = WebServer(self.answer)
        self.finite = every is None
        self.config: dict[str, Any] = {
            "url": f"{self.server.url}/items",
            "records": "data.items",
            "paging": {"type": "cursor", "param": "cursor", "path": "data.next"},
            "auth": {"type": "bearer", "token": f"${{file:{folder / 'token'}}}"},
            "id_field": "id",
        }
        if every is not None:
            self.config["every"] = every
        self.fill = self._numbered.fill

    @property
    def broken(self) -> Mapping[str, Mapping[str, Any]]:
        """What people get wrong."""
        return {
            "another token": {"auth": {"type": "bearer", "token": "wrong"}},
            "no such path": {"url": f"{self.server.url}/nothing"},
            "HTML": {"url": f"{self.server.url}/html"},
            "no server": {"url": "http://127.0.0.1:9/items"},
            "no such host": {"url": "http://nowhere.invalid/items"},
            "no URL": {"url": "items"},
            "a password in the URL": {"url": "http://me:secret@127.0.0.1/items"},
            "no list": {"records": "data"},
            "TLS where there is none": {"url": f"{self.server.url.replace('http:', 'https:')}/items"},
            "no certificates": {"ca": __file__},
            "a cursor without a path": {"paging": {"type": "cursor", "param": "cursor", "path": "/"}},
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """A page."""
        if request.path == "/html":
            return web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html")
        if request.path != "/items":
            return web.Response(status=404)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        start = self._start(request.query)
        events = self._numbered.events
        page, following = events[start : start + self._size], start + self._size
        more = f'"c{following}"' if following < len(events) else "null"
        body = b'{"data":{"next":%s,"items":[%s]}}' % (more.encode(), b",\n ".join(page))
        links = {"Link": f'</items?offset={following}>; rel="next"'} if following < len(events) else {}
        return web.Response(body=body, content_type="application/json", headers=links)

    def _start(self, query: Mapping[str, str]) -> int:
        if "cursor" in query:
            return int(query["cursor"].removeprefix("c"))
        if "page" in query:
            return (int(query["page"]) - 1) * self._size
        return int(query.get("offset") or query.get("since") or 0)

    def put(self, data: bytes) -> bool | None:
        """Add an event; a page can't hold what would end its list."""
        if data.startswith(b"{") and not data.rstrip(b"\0").endswith(b"}"):
            return False
        self._numbered.put(data)
        return None

    def number(self, data: bytes) -> int:
        """The event's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """End the server."""
        self.server.close()


def json_answer(value: Any, **options: Any) -> web.Response:
    """`value` as JSON."""
    return web.Response(text=json.dumps(value), content_type="application/json", **options)


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> HttpPollCase:
    """An API of its own."""
    return HttpPollCase(folder / unique("api"), size=100)

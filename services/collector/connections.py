"""The connections of the listener: bounded in number and idle time, and nothing that a stranger sends reaches the log.

Guards against private parts of aiohttp that change: tests/unit/services/test_listener.py.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

log = logging.getLogger(__name__)

IDLE_SECONDS = 15.0
"""How long a connection may be silent, or take for the head of a request."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read, so that its sender sees the answer."""

MOST_CONNECTIONS = 2_000
"""At most; and at most half of the files that the process may open: sources and Kafka need theirs."""

TELL_SECONDS = 60.0
"""How often the log says that there was something that is no HTTP."""

NO_HTTP = "The request is not valid HTTP."

_silent = logging.Logger("aiohttp.server", logging.CRITICAL + 1)  # its messages quote requests (invariant 9)


def answer(status: int, content: dict[str, Any]) -> web.Response:
    """JSON, and no word about what software answers."""
    headers = {"Content-Type": "application/json", "Server": "clearwell"}
    return web.Response(status=status, body=msgspec.json.encode(content), headers=headers)


class Connections(web.Server):
    """aiohttp's server, with limits. Of too many connections the one that has been idle longest is closed."""

    def __init__(self, handler: Any, request_factory: Any, most: int | None = None) -> None:
        """`most` connections at once."""
        super().__init__(
            handler,
            request_factory=request_factory,
            auto_decompress=False,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            logger=_silent,
        )
        self._most = most or min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._nonsense, self._told = 0, float("-inf")

    def __call__(self) -> RequestHandler:
        """What looks after a new connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Make room for it, or close it when all others are at work."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            idle = (other for other in self._connections if _is_idle(other))
            oldest = next(idle, handler)
            oldest.force_close()
            self._connections.pop(oldest, None)

    def note_nonsense(self) -> None:
        """Something came that is no HTTP: told by number, now and then."""
        self._nonsense += 1
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            log.warning("%d requests to the listener were not valid HTTP", self._nonsense)
            self._nonsense, self._told = 0, now


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A fixed text: aiohttp's own quotes the request, and says who it is."""
        if isinstance(self._manager, Connections):
            self._manager.note_nonsense()
        if request.writer.output_size > 0:
            raise ConnectionError
        known = status < HTTPStatus.INTERNAL_SERVER_ERROR
        text = NO_HTTP if known else "The request could not be answered."
        response = answer(HTTPStatus.BAD_REQUEST if known else HTTPStatus.INTERNAL_SERVER_ERROR, {"error": text})
        response.force_close()
        return response


def _is_idle(handler: RequestHandler) -> bool:
    return handler._current_request is None and not handler._messages

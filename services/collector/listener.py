"""The HTTP listener of a collector: `POST /push/<connector>`, answered after Kafka has acknowledged (invariant 1)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from clearwell.errors import ClearwellError, ConfigError
from clearwell.source import Request, RequestRefused, SourceEvent
from services.collector.connections import Connections, answer
from services.collector.push_run import PushRun
from services.collector.request_body import BODY_LIMIT, BodyBudget, read_body
from services.collector.running_connector import as_bug

log = logging.getLogger(__name__)

ACK_SECONDS = 10.0
"""How long a request waits for Kafka; then its sender is told to come again."""

READ_SECONDS = 10.0
"""How long making events of a body may take."""

AGAIN_SECONDS = 2.0
"""When those are asked to come again for whom there is no better answer."""

SHUT_DOWN_SECONDS = 4.0
"""How long requests in flight are waited for when the listener closes."""

PREFIX = "/push/"


class Listener:
    """Finds the connector of a request among `endpoints`, and answers."""

    def __init__(self, endpoints: Mapping[str, PushRun], count: Callable[[str, int], None] = lambda *_: None) -> None:
        """`endpoints`: who takes requests now, by connector. `count` hears of each answer: whose, and its status.

        A request for a connector that is not known is nobody's: "".
        """
        self.known: frozenset[str] = frozenset()
        self._endpoints = endpoints
        self._count = count
        self._budget = BodyBudget()
        self._runner: web.ServerRunner | None = None
        self._closing = False
        self._requests = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port, which collectors may share. Raises ConfigError when the address is taken."""
        runner = web.ServerRunner(Connections(self._answer, _request), shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, reuse_port=port != 0, backlog=1024)
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"Cannot listen on {host}:{port} ({error.strerror}): free that address, or set CLEARWELL_LISTEN."
            ) from None
        self._runner = runner
        return int(runner.addresses[0][1])

    async def close(self) -> None:
        """Take no new connections, answer the requests in flight, then close the rest; again is harmless."""
        self._closing = True
        if (runner := self._runner) is None:
            return
        self._runner = None
        for site in list(runner.sites):
            await site.stop()
        try:
            await asyncio.wait_for(self._quiet.wait(), SHUT_DOWN_SECONDS)
        except TimeoutError:
            log.warning("requests were still waiting for Kafka when the listener closed")
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._requests += 1
        self._quiet.clear()
        try:
            response = await self._answer_or_refuse(request)
            self._count(self._name(request), response.status)
            return response
        finally:
            self._requests -= 1
            if not self._requests:
                self._quiet.set()

    async def _answer_or_refuse(self, request: web.BaseRequest) -> web.Response:
        try:
            return _response(HTTPStatus.OK, {"accepted": await self._take(request)}, close=self._closing)
        except RequestRefused as refused:
            return _refusal(refused, close=self._closing or not request.content.is_eof())

    async def _take(self, request: web.BaseRequest) -> int:
        """The number of events that Kafka has acknowledged. Raises RequestRefused."""
        run = self._endpoint(request)
        with self._budget.entered():
            body = await read_body(request, self._budget)
            with self._budget.holding(len(body)):
                events = await _received(run, request, body)
                if events:
                    await _acknowledged(run, events)
                return len(events)

    def _endpoint(self, request: web.BaseRequest) -> PushRun:
        name = self._name(request)
        if not name:
            raise RequestRefused(404, "There is nothing here.")
        if request.method != "POST":
            raise RequestRefused(405, "Events are sent by POST.")
        run = self._endpoints.get(name)
        if run is None:
            raise RequestRefused(503, "The connector takes no requests now: come again later.", AGAIN_SECONDS)
        return run

    def _name(self, request: web.BaseRequest) -> str:
        path, _, _ = request.raw_path.partition("?")
        name = path.removeprefix(PREFIX)
        return name if path.startswith(PREFIX) and name in self.known else ""


async def _received(run: PushRun, request: web.BaseRequest, body: bytes) -> Sequence[SourceEvent]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    query = dict(request.query) if "?" in request.raw_path else {}
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await run.receive(Request(request.method, headers, query, body))
    except RequestRefused:
        raise
    except TimeoutError:
        raise RequestRefused(503, "The request could not be read in time: come again later.", AGAIN_SECONDS) from None
    except Exception as error:  # whatever a source raises is this request's alone
        as_bug(error)
        raise RequestRefused(500, "The request could not be read.") from None


async def _acknowledged(run: PushRun, events: Sequence[SourceEvent]) -> None:
    try:
        async with asyncio.timeout(ACK_SECONDS):
            await run.offer(events)
    except (TimeoutError, ClearwellError):
        raise RequestRefused(503, "The events could not be stored: send them again.", AGAIN_SECONDS) from None


def _request(
    message: RawRequestMessage, payload: StreamReader, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT)


def _refusal(refused: RequestRefused, close: bool) -> web.Response:
    """An answer that says what its sender must know, and nothing else."""
    response = _response(refused.status, {"error": str(refused)}, close=close)
    if refused.retry_after is not None:
        response.headers["Retry-After"] = str(max(math.ceil(refused.retry_after), 1))
    if refused.status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    return response


def _response(status: int, content: dict[str, Any], close: bool) -> web.Response:
    response = answer(status, content)
    if close:
        response.force_close()
    return response

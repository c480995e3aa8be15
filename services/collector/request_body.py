"""Reads the body of a request within limits: of one request, and of all that wait at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

from clearwell.source import RequestRefused

BODY_LIMIT = 8 * 1_048_576
"""Bytes of one request."""

BUDGET_BYTES = 64 * 1_048_576
"""Bytes of all requests that are read or wait for Kafka, at most; more are told to come again."""

BUDGET_REQUESTS = 4_096

BODY_SECONDS = 15.0
"""How long a sender may take for a body."""

AGAIN_SECONDS = 1.0


SLOW_SECONDS, SLOW_BYTES = 1.0, 65_536
"""A sender that after the first of these sends fewer of these a second is slow: when there is no room, its request is
given up for one that is not."""


class Incoming:
    """A body that is being read; `limit` ends its reading."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self.size = 0
        self._limit = limit
        self._begun = time.monotonic()

    def is_slow(self) -> bool:
        """Whether its sender takes room for longer than it needs."""
        age = time.monotonic() - self._begun
        return age > SLOW_SECONDS and self.size < age * SLOW_BYTES

    def give_up(self) -> None:
        """End its reading now."""
        self._limit.reschedule(0)


class BodyBudget:
    """Counts what waits in memory."""

    def __init__(self, most_bytes: int = BUDGET_BYTES, most_requests: int = BUDGET_REQUESTS) -> None:
        self.bytes = 0
        self.requests = 0
        self._most_bytes = most_bytes
        self._most_requests = most_requests
        self._incoming: dict[Incoming, None] = {}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """One more request. Raises RequestRefused 429 when there are too many."""
        if self.requests >= self._most_requests:
            self._give_up_slow()
            raise too_much()
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def reading(self, incoming: Incoming) -> Iterator[None]:
        """A body comes; what `grow` took for it is given back at the end."""
        self._incoming[incoming] = None
        try:
            yield
        finally:
            self._drop(incoming)

    def grow(self, incoming: Incoming, size: int) -> None:
        """`size` more bytes of a body have come: only those take room, whatever was announced.

        Raises RequestRefused 429 when that is too much, and no slow sender's body can be given up for it.
        """
        while self.bytes + size > self._most_bytes:
            if not self._give_up_slow(but=incoming):
                raise too_much()
        if incoming in self._incoming:
            self.bytes += size
            incoming.size += size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """`size` more bytes. Raises RequestRefused 429 when that is too much."""
        while self.bytes + size > self._most_bytes:
            if not self._give_up_slow():
                raise too_much()
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    def _give_up_slow(self, but: Incoming | None = None) -> bool:
        """End the reading of the slow body that holds most; whether there was one."""
        slow = [body for body in self._incoming if body is not but and body.is_slow()]
        if not slow:
            return False
        largest = max(slow, key=lambda body: body.size)
        largest.give_up()
        self._drop(largest)
        return True

    def _drop(self, incoming: Incoming) -> None:
        if incoming in self._incoming:
            del self._incoming[incoming]
            self.bytes -= incoming.size


def too_much() -> RequestRefused:
    """What is said when there is no room."""
    return RequestRefused(429, "Too much at once: come again later.", AGAIN_SECONDS)


async def read_body(request: web.BaseRequest, budget: BodyBudget) -> bytes:
    """The whole body. Raises RequestRefused: 413 before anything is read where the length is told, 408, 415, 429."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestRefused(415, "The body must not be compressed.")
    length = request.content_length
    if length is not None and length > BODY_LIMIT:
        raise _too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    if request.content.is_eof():  # came with the head, as small ones do
        return await request.read()
    try:
        async with asyncio.timeout(BODY_SECONDS) as limit:
            return await _read_chunks(request, budget, Incoming(limit))
    except TimeoutError:
        raise RequestRefused(408, "The body took too long.") from None
    except (aiohttp.ClientPayloadError, web.RequestPayloadError):
        raise RequestRefused(400, "The body is not sent as HTTP has it.") from None


async def _read_chunks(request: web.BaseRequest, budget: BodyBudget, incoming: Incoming) -> bytes:
    """A body uses up the budget as it comes."""
    body = bytearray()
    with budget.reading(incoming):
        async for chunk in request.content.iter_any():
            if len(body) + len(chunk) > BODY_LIMIT:
                raise _too_large()
            budget.grow(incoming, len(chunk))
            body += chunk
    return bytes(body)


def _too_large() -> RequestRefused:
    return RequestRefused(413, f"A body has at most {BODY_LIMIT} bytes.")

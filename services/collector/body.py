"""Reads the body of a request within limits: of one request, and of all that wait at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from clearwell.source import RequestRefused

BODY_LIMIT = 8 * 1_048_576
"""Bytes of one request."""

ROOM_BYTES = 64 * 1_048_576
"""Bytes of all requests that are read or wait for Kafka, at most; more are told to come again."""

ROOM_REQUESTS = 4_096

BODY_SECONDS = 15.0
"""How long a sender may take for a body."""

AGAIN_SECONDS = 1.0


class Room:
    """Counts what waits in memory."""

    def __init__(self, most_bytes: int = ROOM_BYTES, most_requests: int = ROOM_REQUESTS) -> None:
        self.bytes = 0
        self.requests = 0
        self._most_bytes = most_bytes
        self._most_requests = most_requests

    @contextmanager
    def entered(self) -> Iterator[None]:
        """One more request. Raises RequestRefused 429 when there are too many."""
        if self.requests >= self._most_requests:
            raise too_much()
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """`size` more bytes. Raises RequestRefused 429 when that is too much."""
        if self.bytes + size > self._most_bytes:
            raise too_much()
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size


def too_much() -> RequestRefused:
    """What is said when there is no room."""
    return RequestRefused(429, "Too much at once: come again later.", AGAIN_SECONDS)


async def read_body(request: web.BaseRequest, room: Room) -> bytes:
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
    with room.holding(length or 0):
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await (request.read() if length is not None else _read_chunks(request, room))
        except TimeoutError:
            raise RequestRefused(408, "The body took too long.") from None
        except web.HTTPRequestEntityTooLarge:
            raise _too_large() from None


async def _read_chunks(request: web.BaseRequest, room: Room) -> bytes:
    """A body whose length is not told: it takes up room as it comes."""
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            if len(body) + len(chunk) > BODY_LIMIT:
                raise _too_large()
            if room.bytes + len(chunk) > ROOM_BYTES:
                raise too_much()
            room.bytes += len(chunk)
            body += chunk
        return bytes(body)
    finally:
        room.bytes -= len(body)


def _too_large() -> RequestRefused:
    return RequestRefused(413, f"A body has at most {BODY_LIMIT} bytes.")

"""The listener with strangers at its door: bounded in number, time and room, nothing of theirs in the log."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from clearwell.source import Request, SourceEvent
from connectors.webhook.source import WebhookConfig, WebhookSource
from services.collector import connections, listener
from services.collector import request_body as bodies
from services.collector.readers import Readers

SECRET = "canary-secret-of-a-sender"
SIGNED = {"signature": {"type": "hmac", "secrets": [SECRET]}}


class Door:
    """A connector that takes requests, without Kafka; what it was given is in `events`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.events: list[SourceEvent] = []
        self.answers: list[tuple[str, int]] = []
        self._source = WebhookSource(msgspec.convert(config, WebhookConfig))
        self._readers = Readers("hooks")

    async def receive(self, request: Request) -> Sequence[SourceEvent]:
        """As a run does."""
        return await self._readers.events(self._source, request)

    def close(self) -> None:
        """End its threads."""
        self._readers.close()

    def offer(self, events: Sequence[SourceEvent]) -> asyncio.Future[None]:
        """Acknowledged at once."""
        self.events += events
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@asynccontextmanager
async def listening(config: dict[str, Any] | None = None) -> AsyncIterator[tuple[Door, int]]:
    """A door named "hooks", and the port."""
    door = Door(config or SIGNED)
    endpoints: Any = {"hooks": door}
    one = listener.Listener(endpoints, lambda connector, status: door.answers.append((connector, status)))
    one.known = frozenset(endpoints)
    port = await one.open("127.0.0.1", 0)
    try:
        yield door, port
    finally:
        await one.close()
        door.close()


def run(test: Callable[[Door, int], Awaitable[None]], config: dict[str, Any] | None = None) -> None:
    """Run a test with a door and its port."""

    async def go() -> None:
        async with listening(config) as (door, port):
            await test(door, port)

    asyncio.run(asyncio.wait_for(go(), 30))


def signed(body: bytes, *more: bytes) -> bytes:
    """A whole request."""
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    lines = [b"POST /push/hooks HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *more]
    return b"\r\n".join([*lines, b"X-Hub-Signature-256: sha256=" + digest.encode(), b"", body])


async def send(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return head, await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()


NONSENSE = {
    "no HTTP": b"canary nonsense\r\n\r\n",
    "TLS": b"\x16\x03\x01canary\r\n\r\n",
    "a header without a colon": b"POST /push/hooks HTTP/1.1\r\ncanary\r\n\r\n",
    "two lengths": b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\ncanary",
    "a length and chunks": b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\ncanary",
    "a chunk's length": b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
    "a huge header": b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nX: " + b"canary" * 5_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_", NONSENSE.values(), ids=NONSENSE.keys())
def test_what_is_no_http_is_answered_by_a_fixed_text_and_not_logged(
    request_: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def test(door: Door, port: int) -> None:
        head, body = await send(port, request_)
        assert head[8:13] == b" 400 " and json.loads(body)["error"].endswith(("HTTP.", "HTTP has it."))
        for said in (head + body, caplog.text.encode(), "".join(capfd.readouterr()).encode()):
            assert b"canary" not in said and b"aiohttp" not in said.lower() and b"Traceback" not in said
        assert door.events == []

    with caplog.at_level("DEBUG"):
        run(test)


@pytest.mark.parametrize("value", [b"\xc3\xa4", b"\xff\xfe", "sha256=ä".encode(), b"sha256=" + b"\x80" * 64])
def test_a_signature_that_is_no_text_is_not_right(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    request = (
        b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Hub-Signature-256: " + value + b"\r\n\r\n{}"
    )

    async def test(_: Door, port: int) -> None:
        head, _body = await send(port, request)
        assert head.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))
        assert "Traceback" not in caplog.text and "bug" not in caplog.text

    run(test)


def test_requests_that_announce_much_and_send_nothing_take_no_room() -> None:
    """Case A10: eight times eight megabytes were announced, and nobody else got in for fifteen seconds."""

    async def test(door: Door, port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in idle:
            writer.write(b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n{")
        await asyncio.sleep(0.05)
        head, _ = await send(port, signed(b'{"n":1}' + b" " * 60_000))
        assert head.startswith(b"HTTP/1.1 200 ") and len(door.events) == 1
        for _, writer in idle:
            writer.close()

    run(test)


def test_slow_bodies_that_fill_all_room_are_given_up_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(bodies.BodyBudget.__init__, "__defaults__", (1_000_000, 100))

    async def test(door: Door, port: int) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for _, writer in slow:
            writer.write(b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n" + b" " * 240_000)
        await asyncio.sleep(0.2)
        monkeypatch.setattr(bodies, "SLOW_BYTES", 100_000_000)
        head, _ = await send(port, signed(b'{"n":1}' + b" " * 100_000))
        assert head.startswith(b"HTTP/1.1 200 ") and len(door.events) == 1
        given_up = [reader for reader, _ in slow if reader._buffer.startswith(b"HTTP/1.1 408 ")]  # type: ignore[attr-defined]
        assert len(given_up) == 1, "More were given up than was necessary, or none."
        for _, writer in slow:
            writer.close()

    run(test)


def test_half_sent_heads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.2)

    async def test(_: Door, port: int) -> None:
        for beginning in (b"", b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nX-Half", signed(b"{}") + b"POST /push"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(beginning)
            await asyncio.wait_for(reader.read(), 5)
            writer.close()

    run(test)


def test_of_too_many_connections_the_oldest_idle_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 10)

    async def test(door: Door, port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        for _, writer in held:
            writer.write(b"POST /push/hooks HTTP/1.1\r\nHost")
        head, _ = await send(port, signed(b"{}"))
        assert head.startswith(b"HTTP/1.1 200 ") and len(door.events) == 1
        assert await asyncio.wait_for(held[0][0].read(), 5) == b""
        for _, writer in held:
            writer.close()

    run(test)


HEAVY = {
    "escaped quotes": b'["' + b'\\"' * 25_000,
    "many escaped quotes": b'["' + b'\\"' * 4_000_000,
    "opened": b"[" * 8_000_000,
    "numbers": b"[" + b"1," * 4_000_000 + b"1]",
    "lines": b"[" + b"{}\n" * 2_000_000,
    "an odd one": b'["\\ud800"' + b',{"a":[1]}' * 600_000 + b"]",
}


@pytest.mark.parametrize("body", HEAVY.values(), ids=HEAVY.keys())
def test_a_heavy_body_does_not_hold_up_the_event_loop(body: bytes) -> None:
    """Case A2: one body held up every connector of its collector for two minutes."""

    async def test(door: Door, port: int) -> None:
        longest, busiest, begun = 0.0, 0.0, time.monotonic()
        sending = asyncio.create_task(send(port, signed(body)))
        while not sending.done():
            before, busy = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.001)
            longest, busiest = max(longest, time.monotonic() - before), max(busiest, time.thread_time() - busy)
        head, _ = sending.result()
        assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")) and not door.events
        assert time.monotonic() - begun < 30
        assert busiest < 0.3, f"The event loop worked on it for {busiest:.2f} s."
        assert longest < 3, f"The event loop stood still for {longest:.2f} s."  # whoever else the machine works for

    run(test)


def test_each_answer_is_counted_and_no_name_that_a_stranger_sends() -> None:
    async def test(door: Door, port: int) -> None:
        for request in (signed(b"{}"), b"POST /push/hooks HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"):
            await send(port, request)
        await send(port, b"POST /push/jane HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert [(name, status // 100) for name, status in door.answers] == [("hooks", 2), ("hooks", 4), ("", 4)]

    run(test)

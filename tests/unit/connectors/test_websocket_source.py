"""What the source websocket makes of servers that end, cut, fall silent, or send what is no event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType, web

from clearwell.errors import ConfigError, Retryable
from clearwell.source import EVENT_LIMIT, Refusal
from connectors.websocket.source import LARGEST_MESSAGE, WebSocketConfig, WebSocketPosition, WebSocketSource
from tests.support.web_server import Answer, WebServer, servers

Serve = Callable[..., WebServer]
Talk = Callable[[web.WebSocketResponse, web.BaseRequest], Awaitable[None]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer by a function."""
    with servers() as start:
        yield start


def talking(talk: Talk, **options: Any) -> Answer:
    """Takes every connection, talks, and closes it."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0, **options)
        await socket.prepare(request)
        await talk(socket, request)
        if not socket.closed:
            await socket.close()
        return socket

    return answer


def source(server: WebServer, **config: Any) -> WebSocketSource:
    url = server.url.replace("http", "ws")
    return WebSocketSource(msgspec.convert({"url": url, "timeout": 5.0, **config}, WebSocketConfig))


def read(one: WebSocketSource, count: int, after: WebSocketPosition | None = None) -> list[Any]:
    """Batches, until `count` events came."""

    async def collect() -> list[Any]:
        batches: list[Any] = []
        reading: Any = one.read(after)
        try:
            async for batch in reading:
                batches.append(batch)
                if sum(len(events) for events, _ in batches) >= count:
                    break
        finally:
            await reading.aclose()
            await one.close()
        return batches

    return asyncio.run(asyncio.wait_for(collect(), 30))


def events_of(batches: list[Any]) -> list[Any]:
    return [event for events, _ in batches for event in events]


def test_goes_on_by_a_message_with_the_position(serve: Serve) -> None:
    """After the server has ended the connection too; a text stays a text, a number a number, as written."""
    heard: list[Any] = []

    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        heard.append((await socket.receive()).json())
        first = 0 if len(heard) == 1 else heard[-1]["args"][0] + 1
        for n in range(first, first + 2):
            await socket.send_str(f'{{"seq":{n}, "x":1.50}}')

    config = {
        "subscribe": {"op": "all"},
        "resume": {"op": "from", "args": ["$position", "$positions"]},
        "position_field": "seq",
    }
    batches = read(source(serve(talking(talk)), **config), 4)
    assert heard == [{"op": "all"}, {"op": "from", "args": [1, "$positions"]}]
    assert [event.id for event in events_of(batches)] == ["0", "1", "2", "3"]
    assert events_of(batches)[0].data == b'{"seq":0, "x":1.50}'
    assert batches[-1][1] == WebSocketPosition(after=3, received=4)


def test_goes_on_by_a_parameter(serve: Serve) -> None:
    queries: list[dict[str, str]] = []

    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        queries.append(dict(request.query))
        await socket.send_str('{"at":"b c"}')

    one = source(serve(talking(talk)), position_field="at", resume_param="after")
    read(one, 1, WebSocketPosition(after="a&b", received=1))
    assert queries == [{"after": "a&b"}]


def test_binary_and_large_messages_are_refused(serve: Serve) -> None:
    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        await socket.send_bytes(b"\x00\x01")
        await socket.send_str("x" * (EVENT_LIMIT + 1))
        await socket.send_frame(b"\xff", WSMsgType.TEXT)
        await socket.send_str("{}")

    events = events_of(read(source(serve(talking(talk))), 4))
    assert [event.refused for event in events] == [Refusal.BINARY, Refusal.TOO_LARGE, None, None]
    assert [len(event.data) < 2_000 for event in events] == [True] * 4


def test_a_message_larger_than_any(serve: Serve) -> None:
    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        await socket.send_str("x" * (LARGEST_MESSAGE + 1))
        await socket.receive()

    with pytest.raises(ConfigError, match="a message larger than"):
        read(source(serve(talking(talk))), 1)


def test_a_server_that_answers_no_ping(serve: Serve) -> None:
    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        await asyncio.sleep(20)

    with pytest.raises(Retryable, match="did not answer a ping"):
        read(source(serve(talking(talk, autoping=False)), ping_seconds=0.4), 1)


def test_a_connection_that_is_cut(serve: Serve) -> None:
    """What came is taken, and the next connection goes on."""
    starts: list[Any] = []

    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        starts.append(request.query.get("after"))
        await socket.send_str(json.dumps({"n": len(starts)}))
        await asyncio.sleep(0.1)
        assert request.transport is not None
        request.transport.abort()

    batches = read(source(serve(talking(talk)), position_field="n", resume_param="after"), 2)
    assert [event.id for event in events_of(batches)] == ["1", "2"]
    assert starts == [None, "1"]


def test_ended_for_a_reason(serve: Serve) -> None:
    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        await socket.close(code=1008, message=b"who are you, jane@example.com?")

    with pytest.raises(Retryable, match="with the code 1008") as told:
        read(source(serve(talking(talk))), 1)
    assert "jane" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ConfigError), (404, ConfigError), (200, ConfigError), (503, Retryable)]
)
def test_no_websocket(serve: Serve, status: int, kind: type[Exception]) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status)

    with pytest.raises(kind):
        source(serve(answer)).check()


def test_forbidden_addresses(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[str] = []

    async def talk(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        connected.append(request.path)

    server = serve(talking(talk))

    async def lead_there(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{server.port}/"})

    monkeypatch.setenv("CLEARWELL_EGRESS_ALLOW", "localhost")
    redirecting = serve(lead_there)
    redirecting.url = redirecting.url.replace("127.0.0.1", "localhost")
    for one in (server, redirecting):
        with pytest.raises(ConfigError, match="an address that may not be reached"):
            source(one).check()
    assert not connected


LISTS = [
    (b'[{"n":1}, {"n":2.50}]', [b'{"n":1}', b'{"n":2.50}']),
    (b'[{"t":"\\ud800"},{"n":2}]', [b'{"t":"\\ud800"}', b'{"n":2}']),
    (b"[]", []),
    (b'["trade",{"n":1}]', [b'["trade",{"n":1}]']),
    (b'[{"n":1},', [b'[{"n":1},']),
    (b'{"n":[1,2]}', [b'{"n":[1,2]}']),
]


@pytest.mark.parametrize(("message", "expected"), LISTS)
def test_a_list_is_an_event_an_element(serve: Serve, message: bytes, expected: list[bytes]) -> None:
    """As in a webhook (case B10); a broken one stays whole, and becomes one dead letter."""

    async def talk(socket: web.WebSocketResponse, _: web.BaseRequest) -> None:
        await socket.send_str(message.decode())
        await socket.send_str('{"n":"last"}')
        await asyncio.sleep(0.2)

    one = source(serve(talking(talk)))
    events = events_of(read(one, len(expected) + 1))
    assert [event.data for event in events] == [*expected, b'{"n":"last"}']
    assert len({event.id for event in events}) == len(events) == one.count().read


def test_the_position_is_the_last_elements(serve: Serve) -> None:
    async def talk(socket: web.WebSocketResponse, _: web.BaseRequest) -> None:
        await socket.send_str('[{"seq":7},{"seq":8}]')
        await asyncio.sleep(0.2)

    batches = read(source(serve(talking(talk)), position_field="seq", resume_param="after"), 2)
    assert [event.id for event in events_of(batches)] == ["7", "8"] and batches[-1][1].after == 8

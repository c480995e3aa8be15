"""What the source sse makes of streams that end, fall silent, have no ids, or say when to come again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from clearwell.errors import ConfigError, Retryable
from clearwell.source import Refusal
from connectors.sse.source import SseConfig, SsePosition, SseSource
from tests.support.web_server import WebServer, servers

Serve = Callable[..., WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer by a function."""
    with servers() as start:
        yield start


class Streams:
    """Sends one text after the other, each on a connection of its own; then 204. `asked` are the ids it was told."""

    def __init__(self, *texts: bytes, linger: float = 0.0, cut: bool = False) -> None:
        self.asked: list[str | None] = []
        self.times: list[float] = []
        self._texts = texts
        self._linger = linger
        self._cut = cut

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.headers.get("Last-Event-ID"))
        self.times.append(time.monotonic())
        if len(self.asked) > len(self._texts):
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(self._texts[len(self.asked) - 1])
        await asyncio.sleep(self._linger)
        if self._cut:
            assert request.transport is not None
            request.transport.abort()
        return response


def source(url: str, **config: Any) -> SseSource:
    return SseSource(msgspec.convert({"url": url, "timeout": 5.0, **config}, SseConfig))


def read(one: SseSource, after: SsePosition | None = None) -> list[Any]:
    """Batches with events, to the end."""

    async def collect() -> list[Any]:
        try:
            return [batch async for batch in one.read(after) if batch[0]]
        finally:
            await one.close()

    return asyncio.run(collect())


def test_goes_on_after_the_last_id_until_there_is_no_more(serve: Serve) -> None:
    """It waits as long as `retry` says, and ends at 204."""
    streams = Streams(b"retry: 50\nid: 7\ndata: 1\n\ndata: 2\n\n", b"id: 9\ndata: 3\n\n", b": nothing\n\n")
    batches = read(source(serve(streams.answer).url), SsePosition(last_id="5"))
    assert [(event.id, event.data) for events, _ in batches for event in events] == [
        ("7", b"1"),
        ("7+1", b"2"),
        ("9", b"3"),
    ]
    assert streams.asked == ["5", "7", "9", "9"]
    assert batches[-1][1] == SsePosition(last_id="9", received=3)


def test_waits_as_long_as_the_server_says(serve: Serve) -> None:
    streams = Streams(b"retry: 1200\ndata: 1\n\n")
    read(source(serve(streams.answer).url))
    assert streams.times[1] - streams.times[0] >= 1.1


def test_an_event_that_was_not_finished_is_not_taken(serve: Serve) -> None:
    streams = Streams(b"retry: 50\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n", b"id: 2\ndata: 2\n\n")
    batches = read(source(serve(streams.answer).url))
    assert [event.id for events, _ in batches for event in events] == ["1", "2"]
    assert streams.asked == [None, "1", "2"]


def test_a_connection_cut_in_the_middle(serve: Serve) -> None:
    """What came before is taken; the next try goes on after it."""
    streams = Streams(b"id: 1\ndata: 1\n\nid: 2\nda", linger=0.2, cut=True)
    found: list[Any] = []

    async def collect() -> None:
        async for batch in source(serve(streams.answer).url).read(None):
            found.append(batch)

    with pytest.raises(Retryable, match="broke the connection off"):
        asyncio.run(collect())
    assert [event.id for events, _ in found for event in events] == ["1"]


def test_a_silent_connection_is_given_up(serve: Serve) -> None:
    streams = Streams(b"retry: 50\nid: 1\ndata: 1\n\n", linger=30)
    begun = time.monotonic()
    read(source(serve(streams.answer).url, silence=0.5))
    assert streams.asked == [None, "1"] and time.monotonic() - begun < 10


def test_events_without_ids_are_warned_of(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Two alike are two events; only a field's value gives them ids that last."""
    caplog.set_level(logging.WARNING)
    streams = Streams(b'data: {"k":"a"}\n\ndata: {"k":"a"}\n\n')
    ((events, position),) = read(source(serve(streams.answer).url))
    assert events[0].id != events[1].id and position == SsePosition(received=2)
    assert caplog.text.count("is lost") == 1
    streams = Streams(b'data: {"k":"a"}\n\n')
    ((events, _),) = read(source(serve(streams.answer).url, id_field="k"))
    assert events[0].id == "a"


def test_only_the_types_that_were_asked_for(serve: Serve) -> None:
    streams = Streams(
        b"id: 1\nevent: add\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\nevent: add\ndata: 3\n\nid: 4\ndata: 4\n\n"
    )
    ((events, position),) = read(source(serve(streams.answer).url, events=["add"]))
    assert [event.id for event in events] == ["1", "3"]
    assert position is not None and position.last_id == "4"


def test_an_event_that_is_too_large_becomes_a_note(serve: Serve) -> None:
    streams = Streams(b"id: 1\ndata: " + b"x" * 2_000_000 + b"\n\nid: 2\ndata: 2\n\n")
    events = [event for batch, _ in read(source(serve(streams.answer).url)) for event in batch]
    assert [event.refused for event in events] == [Refusal.TOO_LARGE, None]
    assert events[0].data.startswith(b"refused: the event has 2000000 bytes")


def test_an_id_that_no_header_can_hold(serve: Serve) -> None:
    with pytest.raises(ConfigError, match="reset the connector"):
        read(source(serve(Streams().answer).url), SsePosition(last_id="a\x1bb"))


def test_a_list_is_an_event_an_element(serve: Serve) -> None:
    """As in a webhook (case B10), with ids that are the same each time; a broken one becomes one dead letter."""
    text = b'id: 7\ndata: [{"n":1}, {"n":2.50}]\n\ndata: [{"n":3},\n\nid: 8\ndata: {"n":[4]}\n\n'
    one = source(serve(Streams(text).answer).url)
    found = [(event.id, event.data) for events, _ in read(one) for event in events]
    assert found == [("7/0", b'{"n":1}'), ("7/1", b'{"n":2.50}'), ("7+1", b'[{"n":3},'), ("8", b'{"n":[4]}')]
    assert one.count().read == 4

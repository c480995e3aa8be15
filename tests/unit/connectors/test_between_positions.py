"""What sources without a place in a log say about a move of their position."""

from __future__ import annotations

from typing import Any

import pytest

from clearwell.source import Comparing
from connectors.http.paging import AnyPaging, Cursor, Offset, PageNumber, Since, Single
from connectors.http.poll import HttpPollConfig, HttpPollSource, HttpPosition
from connectors.mqtt.source import MqttConfig, MqttPosition, MqttSource
from connectors.sse.source import SseConfig, SsePosition, SseSource
from connectors.websocket.source import WebSocketConfig, WebSocketPosition, WebSocketSource

SINCE = Since(param="since", field="at")


@pytest.mark.parametrize(
    ("paging", "old", "new", "said"),
    [
        (PageNumber(), "7", "3", "Pages from 3 to before 7 would be read again."),
        (PageNumber(start=0), None, "9", "Pages from 0 to before 9 would be skipped."),
        (Offset(), "100", "250", "Records from 100 to before 250 would be skipped."),
        (SINCE, "10", "9", "Records with at between 9 and 10 would be read again."),
        (
            SINCE,
            "2026-01-02T00:00:00+02:00",
            "2026-01-02",
            "Records with at between 2026-01-02T00:00:00+02:00 and 2026-01-02 would be skipped.",
        ),
        (SINCE, None, "5", "Records up to at 5 would be skipped."),
        (Since(param="since", field="at", start="3"), "8", "3", "Records with at between 3 and 8 would be read again."),
        (Cursor(param="c", path="next"), "x", "y", "only the API knows."),
        (Single(), None, None, "the only page: records that the new position has not marked come again."),
    ],
)
def test_http_poll_in_the_words_of_its_paging(paging: AnyPaging, old: str | None, new: str | None, said: str) -> None:
    source = HttpPollSource(HttpPollConfig(url="https://api.example/x", paging=paging))
    before = None if old is None else HttpPosition(at=old)
    assert source.between(before, HttpPosition(at=new)).endswith(said)
    assert source.between(before, None) == "All records would be read again, from the first page on."


SSE = SseSource(SseConfig(url="https://api.example/x"))
SOCKET = WebSocketSource(WebSocketConfig(url="wss://api.example/x", position_field="n", resume_param="after"))
PLAIN = WebSocketSource(WebSocketConfig(url="wss://api.example/x"))
MQTT = MqttSource(MqttConfig(url="mqtts://broker.example", topics=["a"], client_id="c"))
ANEW = "Reading would begin with what the server sends to a new reader."


@pytest.mark.parametrize(
    ("source", "old", "new", "said"),
    [
        (SSE, SsePosition(last_id="b", received=9), None, ANEW),
        (
            SSE,
            SsePosition(last_id="b", received=9),
            SsePosition(last_id="a", received=4),
            "The server would be asked for what follows its event a, 5 events earlier: they would be read again.",
        ),
        (SSE, None, SsePosition(last_id="a"), "The server would be asked for what follows its event a."),
        (SOCKET, WebSocketPosition(after=9), WebSocketPosition(after=4), "after n 4 up to 9 would be read again."),
        (SOCKET, WebSocketPosition(after=4), WebSocketPosition(after=9), "after n 4 up to 9 would be skipped."),
        (SOCKET, None, WebSocketPosition(after="x"), "The server would be asked for what follows n x."),
        (SOCKET, WebSocketPosition(after=4), None, ANEW),
        (PLAIN, WebSocketPosition(received=4), WebSocketPosition(received=2), ANEW),
        (MQTT, MqttPosition(taken=4), None, "the broker's session knows where to go on, not the position."),
    ],
)
def test_streams_by_what_they_know(source: Comparing, old: Any, new: Any, said: str) -> None:
    assert source.between(old, new).endswith(said)

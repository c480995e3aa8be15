"""What the source http_poll makes of servers that are busy, wrong, hostile or elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from clearwell.errors import ConfigError, Retryable
from clearwell.source import Refusal
from tests.support.polling import json_text, read, scripted, source, texts
from tests.support.sources.http_poll import json_answer
from tests.support.web_server import WebServer, servers

Serve = Callable[..., WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer by a function."""
    with servers() as start:
        yield start


def test_records_pass_through_as_written(serve: Serve) -> None:
    written = ['{"n": 1.50, "big":12345678901234567890123, "e":1E400}', '{"n":1.50}', "-0.0"]
    answer, _ = scripted(json_text('{"a":[{"b/c":[ ' + " ,\n".join(written) + " ]}]}"))
    batches = read(source(serve(answer).url, records="/a/0/b~1c"))
    assert texts(batches) == [one.encode() for one in written]


def test_a_record_that_is_hostile_does_not_stop_its_neighbours(serve: Serve) -> None:
    deep = "[" * 5_000 + "]" * 5_000
    answer, _ = scripted(json_text('{"items":[{"n":1},{"t":"\\ud800,]"},' + deep + ',{"n":2}],"next":""}'))
    found = texts(read(source(serve(answer).url, records="items")))
    assert found == [b'{"n":1}', b'{"t":"\\ud800,]"}', deep.encode(), b'{"n":2}']


def test_a_record_larger_than_an_event_becomes_a_note(serve: Serve) -> None:
    answer, _ = scripted(json_text('["' + "x" * 1_100_000 + '",1]'))
    ((events, _),) = read(source(serve(answer).url))
    assert [event.refused for event in events] == [Refusal.TOO_LARGE, None]


def test_an_empty_answer_has_no_records(serve: Serve) -> None:
    for nothing in (web.Response(status=204), json_text('{"items":[]}'), json_text('{"items":null}')):
        answer, _ = scripted(nothing)
        assert read(source(serve(answer).url, records="items")) == []
    answer, _ = scripted(json_text("{}"))
    assert read(source(serve(answer).url, records="items", missing_is_empty=True)) == []


@pytest.mark.parametrize("records", ["item", "data.items", "items.0", "/items/"])
def test_a_list_that_is_missing_is_told(serve: Serve, records: str) -> None:
    """Case B6: a misspelt `records` was a source without records."""
    answer, _ = scripted(json_text('{"items":[{"n":1}]}'))
    with pytest.raises(ConfigError, match="list"):
        source(serve(answer).url, records=records).check()


@pytest.mark.parametrize(
    "body",
    [
        '{"ok":false,"error":"canary"}',
        '{"ok":false,"items":[]}',
        '{"items":null,"errors":[{"message":"canary"}]}',
        '{"success":false,"items":[]}',
        '{"error":{"code":7},"items":[]}',
    ],
)
def test_an_error_in_a_good_answer_is_an_error(serve: Serve, body: str) -> None:
    answer, _ = scripted(json_text(body))
    with pytest.raises(Retryable, match="answered with an error instead of records") as told:
        read(source(serve(answer).url, records="items"))
    assert "canary" not in str(told.value)


def test_an_answer_that_says_that_all_is_well_is_none(serve: Serve) -> None:
    for body in ('{"ok":true,"error":null,"items":[]}', '{"errors":[],"success":true,"items":[]}'):
        answer, _ = scripted(json_text(body))
        assert read(source(serve(answer).url, records="items")) == []


def test_a_byte_order_mark_is_no_content(serve: Serve) -> None:
    answer, _ = scripted(web.Response(body=b"\xef\xbb\xbf[1,2]", content_type="application/json"))
    assert texts(read(source(serve(answer).url))) == [b"1", b"2"]


def test_403_may_say_when_to_come_again(serve: Serve) -> None:
    """By Retry-After, or as GitHub does."""
    soon = str(int(time.time()) + 1)
    answer, requests = scripted(
        web.Response(status=403, headers={"Retry-After": "0"}),
        web.Response(status=403, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": soon}),
        json_text("[1]"),
    )
    assert texts(read(source(serve(answer).url))) == [b"1"] and len(requests) == 3


def test_nothing_new_is_a_sign_of_life(serve: Serve) -> None:
    """Case B6: with `every` below the heartbeat's seconds a source without news was held to be stuck."""
    answer, _ = scripted(json_answer([]))
    one = source(serve(answer).url, every=0.01)

    async def three() -> list[Any]:
        batches = one.read(None)
        try:
            return [await anext(batches) for _ in range(3)]
        finally:
            await batches.aclose()  # type: ignore[attr-defined]

    assert asyncio.run(asyncio.wait_for(three(), 5)) == [([], None)] * 3


def test_waits_as_long_as_the_server_asks(serve: Serve) -> None:
    """Seconds or a date; the answer after that counts."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    answer, requests = scripted(
        web.Response(status=429, headers={"Retry-After": "1"}),
        web.Response(status=503, headers={"Retry-After": date}),
        json_text("[1]"),
    )
    begun = time.monotonic()
    assert texts(read(source(serve(answer).url))) == [b"1"]
    assert len(requests) == 3 and time.monotonic() - begun >= 1.0


def test_a_storm_is_told_after_some_waits(serve: Serve) -> None:
    answer, requests = scripted(web.Response(status=503, headers={"Retry-After": "0"}))
    with pytest.raises(Retryable, match=r"can't answer now \(503\)"):
        read(source(serve(answer).url))
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (500, Retryable, "can't answer now"),
        (408, Retryable, "can't answer now"),
        (429, Retryable, "can't answer now"),
        (400, ConfigError, "refused the request"),
        (401, ConfigError, "set `auth` right"),
        (403, ConfigError, "grant the right"),
        (404, ConfigError, "set `url` right"),
        (304, ConfigError, "refused the request"),
    ],
)
def test_refusals(serve: Serve, status: int, kind: type[Exception], said: str) -> None:
    answer, _ = scripted(web.Response(status=status))
    with pytest.raises(kind, match=said):
        source(serve(answer).url).check()


def test_html_instead_of_json(serve: Serve) -> None:
    """At the beginning it is a wrong address; after good pages it may be a maintenance page."""
    html = web.Response(text="<html>personal data</html>", content_type="text/html")
    answer, _ = scripted(html)
    with pytest.raises(ConfigError, match="an HTML page instead of records: set") as wrong:
        source(serve(answer).url).check()
    assert "personal" not in str(wrong.value)
    answer, _ = scripted(json_answer({"items": [1], "next": "b"}), html)
    paging = {"type": "cursor", "param": "cursor", "path": "next"}
    with pytest.raises(Retryable, match="an HTML page instead of records; trying again"):
        read(source(serve(answer).url, records="items", paging=paging))


@pytest.mark.parametrize("body", ['[{"n":1},', '{"items":{"a":1}}', '{"items":"text"}', "nope", '{"items":[1]', "[1]]"])
def test_what_holds_no_list(serve: Serve, body: str) -> None:
    answer, _ = scripted(json_text(body))
    with pytest.raises(ConfigError, match="no JSON, or JSON without a list"):
        source(serve(answer).url, records="items" if body.startswith("{") else "").check()


def test_a_connection_cut_in_the_middle(serve: Serve) -> None:
    """Nothing of the page is taken, and the next try gets all."""

    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'[{"n":1},')
        assert request.transport is not None
        request.transport.abort()
        return response

    with pytest.raises(Retryable, match="broke the connection off"):
        read(source(serve(cut).url))


def test_a_server_that_does_not_answer(serve: Serve) -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    with pytest.raises(Retryable, match="did not answer in time"):
        source(serve(never).url, timeout=0.3).check()


def test_checking_does_not_wait(serve: Serve) -> None:
    answer, requests = scripted(web.Response(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(Retryable, match=r"can't answer now \(429\)"):
        source(serve(answer).url).check()
    assert len(requests) == 1


def test_at_most_so_many_requests_a_second(serve: Serve) -> None:
    answer, requests = scripted(json_answer([1]), json_answer([2]), json_answer([3]), json_answer([]))
    begun = time.monotonic()
    assert len(texts(read(source(serve(answer).url, paging={"type": "page"}, requests_per_second=10)))) == 3
    assert len(requests) == 4 and time.monotonic() - begun >= 0.3


def test_posted_bodies_and_parameters(serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return json_answer([await request.json(), dict(request.query)])

    found = texts(read(source(serve(answer).url, method="POST", body={"q": [1]}, params={"a": "b c"})))
    assert found == [b'{"q": [1]}', b'{"a": "b c"}']
    with pytest.raises(ConfigError, match="`body` is sent with"):
        source("http://127.0.0.1", body={})

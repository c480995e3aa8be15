"""How the source http_poll goes from page to page: numbers, offsets, links, cursors and values that ascend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web

from clearwell.errors import ConfigError
from tests.support.polling import json_text, read, scripted, source, texts
from tests.support.sources.http_poll import json_answer
from tests.support.web_server import Answer, WebServer, servers

Serve = Callable[..., WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer by a function."""
    with servers() as start:
        yield start


def numbered(pages: list[list[int]], absent: int = 404) -> Answer:
    """Pages by number from 1; past the end the status `absent`."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        number = int(request.query["page"])
        return json_answer(pages[number - 1]) if number <= len(pages) else web.Response(status=absent)

    return answer


@pytest.mark.parametrize("absent", [404, 204])
def test_a_page_past_the_end_may_be_absent(serve: Serve, absent: int) -> None:
    """Case B6; with what comes later found from the saved position."""
    pages = [[1, 2], [3, 4], [5]]
    server = serve(numbered(pages, absent))
    batches = read(source(server.url, paging={"type": "page"}))
    assert texts(batches) == [b"1", b"2", b"3", b"4", b"5"]
    pages[2].append(6)
    pages.append([7])
    assert texts(read(source(server.url, paging={"type": "page"}), batches[-1][1])) == [b"6", b"7"]


def test_an_absent_first_page_is_a_wrong_url(serve: Serve) -> None:
    for paging in ({"type": "page"}, {"type": "offset"}, {"type": "none"}):
        answer, _ = scripted(web.Response(status=404))
        with pytest.raises(ConfigError, match="404"):
            read(source(serve(answer).url, paging=paging))


def test_an_offset_past_the_end_may_be_absent(serve: Serve) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        first = int(request.query["offset"])
        return json_answer([first, first + 1]) if first < 4 else web.Response(status=404)

    batches = read(source(serve(answer).url, paging={"type": "offset"}))
    assert texts(batches) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "now", [[[1, 2, 3, 4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7]], [[1], [2], [3], [4], [5], [6], [7]]]
)
def test_pages_that_change_their_size_lose_nothing(serve: Serve, now: list[list[int]]) -> None:
    """What came after the position is found, though the page that it names holds something else or nothing now."""
    pages = [[1, 2], [3, 4], [5]]
    server = serve(numbered(pages))
    position = read(source(server.url, paging={"type": "page"}))[-1][1]
    pages[:] = now
    assert {b"6", b"7"} <= set(texts(read(source(server.url, paging={"type": "page"}), position)))


def test_the_next_page_may_be_named_in_the_body(serve: Serve) -> None:
    """As a whole URL, or one that counts from the page; what the configured URL says is kept."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        number = int(request.query.get("page", "1"))
        assert request.query["key"] == "k"
        following = {1: f"http://{request.host}{request.path}?page=2&key=k", 2: "?page=3", 3: None}[number]
        return json_answer({"results": [number], "links": {"next": following}})

    one = source(serve(answer).url + "?key=k", records="results", paging={"type": "link", "path": "links.next"})
    batches = read(one)
    assert texts(batches) == [b"1", b"2", b"3"]


def test_a_next_page_on_another_server_is_not_followed(serve: Serve) -> None:
    answer, _ = scripted(json_answer({"results": [1], "next": "http://127.0.0.1:9/x"}))
    with pytest.raises(ConfigError, match="another server"):
        read(source(serve(answer).url, records="results", paging={"type": "link", "path": "next"}))


MAILED = [format_datetime(datetime(2024, 1, 29, 9, tzinfo=UTC) + timedelta(days=day)) for day in range(12)]
FORMS = {
    "RFC 2822": MAILED,
    "HTTP": [text.replace("+0000", "GMT") for text in MAILED],
    "ISO": [f"2024-01-{day:02d}T09:00:00Z" for day in range(20, 32)],
    "numbers": [str(number) for number in range(95, 107)],
    "texts": ["a", "b", "ba", "c", "d", "e", "f", "g", "h", "i", "j", "k"],
}


@pytest.mark.parametrize("values", FORMS.values(), ids=FORMS.keys())
def test_since_knows_what_is_later(serve: Serve, values: list[str]) -> None:
    """Four a page, ascending, from a value on: twelve of twelve, whatever the form of the value is."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        first = values.index(request.query["since"]) if "since" in request.query else 0
        return json_answer([{"id": n, "at": values[n]} for n in range(first, min(first + 4, 12))])

    batches = read(source(serve(answer).url, paging={"type": "since", "param": "since", "field": "at"}))
    assert [msgspec.json.decode(text)["id"] for text in texts(batches)] == list(range(12))


@pytest.mark.parametrize("values", [["29/01/2024", "30/01/2024", "01/02/2024"], ["9a", "10a"], ["7", "x"]])
def test_since_by_values_without_an_order_is_refused(serve: Serve, values: list[str]) -> None:
    answer, _ = scripted(json_answer([{"at": value} for value in values]))
    with pytest.raises(ConfigError, match="records would be lost"):
        source(serve(answer).url, paging={"type": "since", "param": "since", "field": "at"}).check()


def test_a_page_that_is_too_large(serve: Serve) -> None:
    """It is refused while it comes, also when it is small on the wire."""
    page = json_text("[" + ",".join(["1234567890"] * 200_000) + "]")
    page.enable_compression()
    answer, _ = scripted(lambda _: page)
    with pytest.raises(ConfigError, match="a page larger than 1 MB"):
        source(serve(answer).url, page_megabytes=1).check()


def test_a_page_that_repeats(serve: Serve) -> None:
    """The API does not know the parameter we send."""
    answer, _ = scripted(json_answer([{"n": 1}]))
    with pytest.raises(ConfigError, match="The same page came twice"):
        read(source(serve(answer).url, paging={"type": "page"}))


def test_cursors_that_go_round_in_circles(serve: Serve) -> None:
    count = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal count
        count += 1
        following = {"a": "b", "b": "c", "c": "a"}[request.query.get("cursor", "c")]
        return json_answer({"items": [count], "next": following})

    paging = {"type": "cursor", "param": "cursor", "path": "next"}
    with pytest.raises(ConfigError, match="goes round in circles"):
        read(source(serve(answer).url, records="items", paging=paging))
    assert count < 20


def test_the_last_page_is_read_again_for_what_was_added(serve: Serve) -> None:
    """A record is taken once, also when it stood on a page that was not full yet."""
    records: list[Any] = [{"n": 0}, {"n": 1}, {"n": 2}]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        start = int(request.query["page"]) * 2
        return json_answer(records[start : start + 2])

    url = serve(answer).url
    options: dict[str, Any] = {"paging": {"type": "page", "start": 0}}
    *_, (_, position) = read(source(url, **options))
    records += [{"n": 3}, {"n": 4}]
    found = read(source(url, **options), position)
    assert texts(found) == [b'{"n": 3}', b'{"n": 4}']


def test_one_page_asked_again_gives_what_changed(serve: Serve) -> None:
    """A changed record is another event; two that are alike are two."""
    answer, _ = scripted(
        json_answer([{"a": 1}, {"a": 1}, {"b": 1}]),
        json_answer([{"a": 1}, {"a": 1}, {"b": 1}]),
        json_answer([{"a": 1}, {"a": 1}, {"b": 2}, {"a": 1}]),
    )
    (first, _), (second, _) = read(source(serve(answer).url, every=0.05), most=2)
    assert [event.data for event in second] == [b'{"b": 2}', b'{"a": 1}']
    assert len({event.id for event in [*first, *second]}) == 5


def test_records_of_one_time_are_neither_lost_nor_repeated(serve: Serve) -> None:
    """`since` asks from the highest time on, that included, and leaves out what it has."""
    records: list[dict[str, Any]] = [{"id": n, "at": f"2026-01-01T00:00:0{n // 4}Z"} for n in range(10)]
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.query["since"])
        return json_answer([one for one in records if one["at"] >= request.query["since"]][:6])

    options: dict[str, Any] = {
        "id_field": "id",
        "paging": {"type": "since", "param": "since", "field": "at", "start": "2026", "limit": 6},
    }
    url = serve(answer).url
    batches = read(source(url, **options))
    assert [msgspec.json.decode(one)["id"] for one in texts(batches)] == list(range(10))
    assert asked[:2] == ["2026", "2026-01-01T00:00:01Z"]
    records += [{"id": 10, "at": "2026-01-01T00:00:02Z"}, {"id": 0, "at": "2026-01-01T00:00:03Z"}]
    found = read(source(url, **options), batches[-1][1])
    ids = [event.id for events, _ in found for event in events]
    assert ids == ['["2026-01-01T00:00:02Z","10"]', '["2026-01-01T00:00:03Z","0"]']


def test_a_record_that_is_missing_for_a_while_is_not_repeated(serve: Serve) -> None:
    """As when a replica lags."""
    answer, _ = scripted(*(json_answer([{"n": n, "t": 5} for n in page]) for page in ((1, 2), (2, 3), (1, 2, 3, 4))))
    batches = read(source(serve(answer).url, paging={"type": "since", "param": "since", "field": "t"}))
    assert [msgspec.json.decode(one)["n"] for one in texts(batches)] == [1, 2, 3, 4]


def test_a_page_full_of_one_time_is_noticed(serve: Serve) -> None:
    answer, _ = scripted(json_answer([{"id": n, "t": 5} for n in range(3)]))
    paging = {"type": "since", "param": "since", "field": "t", "limit": 3}
    with pytest.raises(ConfigError, match="share one t"):
        read(source(serve(answer).url, paging=paging))


def test_a_server_that_ignores_since(serve: Serve) -> None:
    """Older records are taken as read: every record comes once."""
    answer, _ = scripted(json_answer([{"t": 1.5}, {"t": 10}, {"t": 9}]))
    batches = read(source(serve(answer).url, paging={"type": "since", "param": "since", "field": "t"}))
    assert len(texts(batches)) == 3 and batches[-1][1] is not None and batches[-1][1].at == "10"


def test_links_lead_to_the_same_server_only(serve: Serve) -> None:
    """What the configured query holds is sent with every page and kept out of the position."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.query["key"] == "hidden"
        n = int(request.query.get("n", 0))
        more = {"Link": f'<{request.url.update_query(n=n + 1)}>; rel="next"'} if n < 2 else {}
        return json_answer([n], headers=more)

    batches = read(source(f"{serve(answer).url}/x?a=1", params={"key": "hidden"}, paging={"type": "link"}))
    assert texts(batches) == [b"0", b"1", b"2"]
    assert [position.at for _, position in batches if position] == ["/x?n=1", "/x?n=2", "/x?n=2"]

    elsewhere, _ = scripted(json_answer([1], headers={"Link": '<http://127.0.0.2/>; rel="next"'}))
    with pytest.raises(ConfigError, match="leads to another server"):
        read(source(serve(elsewhere).url, paging={"type": "link"}))

"""The parser of server-sent events: by the examples of the HTML standard, and the same however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clearwell.source import EVENT_LIMIT
from connectors.sse.stream import Parser, ServerSentEvent


def parsed(stream: bytes, last_id: str = "") -> list[tuple[str, bytes, str, int]]:
    return [(one.type, one.data, one.last_id, one.nth) for one in Parser(last_id).feed(stream)]


def test_the_standards_examples() -> None:
    assert parsed(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [("message", b"YHOO\n+2\n10", "", 1)]
    blocks = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert parsed(blocks) == [
        ("message", b"first event", "1", 0),
        ("message", b"second event", "", 0),
        ("message", b" third event", "", 1),
    ]
    assert parsed(b"data\n\ndata\ndata\n\ndata:") == [("message", b"", "", 1), ("message", b"\n", "", 2)]
    assert parsed(b"data:test\n\ndata: test\n\n") == [("message", b"test", "", 1), ("message", b"test", "", 2)]


def test_types_ids_and_retry() -> None:
    parser = Parser()
    stream = b"\xef\xbb\xbfevent: add\rdata: 1\rid: a\r\r"
    stream += b"id: b\0c\nretry: 2500\nretry: soon\ndata: 2\r\n\r\nid: d\n\ndata: 3\n\n"
    assert parser.feed(stream) == [
        ServerSentEvent("add", b"1", 1, "a", 0),
        ServerSentEvent("message", b"2", 1, "a", 1),
        ServerSentEvent("message", b"3", 1, "d", 1),
    ]
    assert parser.retry == 2.5


def test_ids_go_on_after_a_reconnection() -> None:
    assert parsed(b"data: 1\n\ndata: 2\n\n", "x") == [("message", b"1", "x", 1), ("message", b"2", "x", 2)]


def test_what_is_too_large_is_counted_and_not_kept() -> None:
    parser = Parser()
    parser.feed(b"data: ")
    for _ in range(30):
        assert parser.feed(b"x" * 100_000) == []
    (message,) = parser.feed(b"\ndata: y\n\n")
    assert message.size == 3_000_002 and EVENT_LIMIT < len(message.data) < EVENT_LIMIT + 100
    assert parser.feed(b"data: z\n\n")[0].data == b"z"


def test_a_line_end_cut_in_two_is_one() -> None:
    parser = Parser()
    stream = b"data: 1\r\ndata: 2\r\n\r\n"
    found = [message for at in range(len(stream)) for message in parser.feed(stream[at : at + 1])]
    assert [one.data for one in found] == [b"1\n2"]


PIECES = st.sampled_from(
    [b"data", b"id", b"event", b"retry", b":", b" ", b"\r", b"\n", b"\r\n", b"1", b"\0", b"\xff", b"\n\n"]
)


@given(st.lists(PIECES).map(b"".join), st.lists(st.integers(0, 80)))
def test_any_portions_give_the_same(stream: bytes, cuts: list[int]) -> None:
    whole = Parser()
    expected = whole.feed(stream)
    parser, found, start = Parser(), list[ServerSentEvent](), 0
    for cut in [*sorted(cuts), len(stream)]:
        found += parser.feed(stream[start:cut])
        start = max(start, cut)
    assert found == expected and parser.retry == whole.retry

"""Lists and objects are taken apart in linear time, and a text that is broken as a whole is refused whole."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.http.json_body import find, list_items, require_json
from connectors.http.split import NotJson, TooMany, elements, members

DEEP = b"[" * 5_000 + b"]" * 5_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(st.lists(VALUES), st.sampled_from([None, 1, "\t"]))
def test_what_is_split_is_what_a_decoder_finds(values: list[Any], indent: Any) -> None:
    text = json.dumps(values, indent=indent).encode()
    assert [json.loads(part) for part in elements(text, 10_000)] == values
    assert list_items(text) == elements(text, 10_000)


@given(st.dictionaries(st.text(), VALUES))
def test_members_are_what_a_decoder_finds(values: dict[str, Any]) -> None:
    text = json.dumps(values).encode()
    assert {json.loads(name): json.loads(value) for name, value in members(text, 10_000).items()} == values


@given(st.binary(max_size=60) | st.text('[]{},:"\\u0 1aN', max_size=40).map(str.encode))
def test_whatever_comes_is_taken_apart_or_refused(text: bytes) -> None:
    """What a strict decoder takes is taken; nothing raises anything else."""
    try:
        expected = len(json.loads(text)) if text.lstrip()[:1] == b"[" else -1
    except (ValueError, RecursionError):
        expected = -1
    try:
        count = len(elements(text, 100))
    except NotJson:
        assert expected == -1
    else:
        assert expected in (-1, count)


@pytest.mark.parametrize(
    "odd",
    [
        b"not json",
        b'{"n":1}\x00',
        b'{"n":1} {"n":2}',
        b'{"a":"\\ud800"}',
        b'{"a":' + DEEP + b"}",
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        b"1e999",
        b'{"a":NaN}',
    ],
)
def test_the_neighbours_of_an_odd_one_flow(odd: bytes) -> None:
    assert list_items(b'[{"n":1}, ' + odd + b' ,{"n":2}]') == [b'{"n":1}', odd, b'{"n":2}']
    assert find(b'{"x":' + odd + b',"data":{"items":[1,2]}}', ("data", "items")) == b"[1,2]"


BROKEN = {
    "half": b'[{"n":1},{"n":2},{"n":',
    "a quote that is not closed": b'["' + b'\\"' * 100,
    "a comma too many": b'[{"n":1},]',
    "brackets crossed": b'[{"n":[1}]]',
    "more after it": b'[{"n":1}] [',
    "two": b"[1][2]",
    "a colon": b'["a":1]',
    "nothing closed": b"[" * 10_000,
    "closed twice": b'[{"n":1}}]',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_whole_is_refused_whole(text: bytes) -> None:
    with pytest.raises(NotJson):
        list_items(text)


@pytest.mark.parametrize("text", [b'{"a":1,"b"}', b'{"a"}', b"{1:2}", b'{"a":1,}', b'{"a":"\\ud800"'])
def test_a_broken_object_is_refused_whole(text: bytes) -> None:
    with pytest.raises(NotJson):
        members(text, 10)


def test_more_than_may_be_is_refused_before_it_is_held() -> None:
    with pytest.raises(TooMany):
        list_items(b"[" + b"1," * 4_000_000 + b"1]", 1_000)
    with pytest.raises(TooMany):
        list_items(b'[{"a":"\\ud800"}' + b",1" * 50 + b"]", 50)


def test_json_is_what_it_says() -> None:
    for good in (b'{"a":"\\ud800"}', DEEP, b'"\\\\ud800"', b"1e999", b"null"):
        require_json(good)
    for bad in (b'{"a":NaN}', b"{a:1}", b'"\\x"', b"", b"[1,]", b'{"a":1} 2', b'"\x01"'):
        with pytest.raises(NotJson):
            require_json(bad)


GROWING = {
    "escaped quotes": lambda n: b'["' + b'\\"' * n,
    "quotes": lambda n: b'["\\ud800"' + b',""' * n,
    "opened": lambda n: b"[" * n,
    "opened and half filled": lambda n: b'[{"a":1,' * (n // 4),
    "nested": lambda n: b'{"a":' * (n // 4),
    "backslashes": lambda n: b'["' + b"\\\\" * n + b'"]',
    "spaces": lambda n: b"[1" + b" " * n,
    "words": lambda n: b"[" + b"x " * n,
    "pairs": lambda n: b"[[]" + b",[]" * n + b",",
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING.keys())
def test_time_grows_as_the_text_does(make: Any) -> None:
    """Four times the text takes about four times as long, not sixteen times (0.05 s stand for a busy machine)."""

    def seconds(text: bytes) -> float:
        best = 9.9
        for _ in range(3):
            begun = time.process_time()
            with suppress(NotJson, TooMany):
                list_items(text)
            best = min(best, time.process_time() - begun)
        return best

    assert seconds(make(100_000)) < 8 * seconds(make(25_000)) + 0.05

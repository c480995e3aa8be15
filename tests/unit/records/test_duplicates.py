"""Duplicates are told from new records by raw offset alone, and the headers carry what that needs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearwell.errors import Fatal
from clearwell.kafka.message_format import encode_headers
from clearwell.records import clean
from clearwell.records.duplicates import Duplicates

events = st.lists(st.tuples(st.sampled_from(["a" * 22, "b" * 22, "c" * 22]), st.integers(0, 50)), max_size=60)


def naive(seen: list[tuple[str, int]]) -> list[bool]:
    """The definition: an event is fresh when no earlier one of the same topic has the same or a higher offset."""
    return [
        all(offset > earlier for other, earlier in seen[:i] if other == topic) for i, (topic, offset) in enumerate(seen)
    ]


@given(events)
def test_only_an_advancing_raw_offset_is_fresh(seen: list[tuple[str, int]]) -> None:
    duplicates = Duplicates()
    assert [duplicates.are_new([topic], [offset])[0] for topic, offset in seen] == naive(seen)


@given(events, st.integers(0, 60))
def test_batches_and_restarts_give_the_same_answers(seen: list[tuple[str, int]], cut: int) -> None:
    first = Duplicates()
    answers = first.are_new([t for t, _ in seen[:cut]], [o for _, o in seen[:cut]])
    second = Duplicates(first.high_watermarks)
    answers += second.are_new([t for t, _ in seen[cut:]], [o for _, o in seen[cut:]])
    assert answers == naive(seen)
    assert second.high_watermarks == {t: max(o for other, o in seen if other == t) for t, _ in seen}


def test_marks_are_a_copy() -> None:
    duplicates = Duplicates({"a": 3})
    before = duplicates.high_watermarks
    assert duplicates.are_new(["a"], [4]) == [True]
    assert before == {"a": 3}


def test_headers_round_trip_in_any_order() -> None:
    maker = clean.Headers("t" * 22, 3, "flights/v1")
    headers = maker.at(12_345_678_901)
    assert maker.encode(12_345_678_901) == encode_headers(headers)
    for order in (headers, tuple(reversed(headers))):
        assert clean.raw_identities([SimpleNamespace(headers=order)]) == (["t" * 22], [12_345_678_901])
    assert ("ce_dataschema", b"flights/v1") in headers


@pytest.mark.parametrize("offsets", [[], [0], [7, 8, 9], [8, 9, 10, 11], [99, 100], [10**11, 10**11 + 5], [5, 10**18]])
def test_many_headers_are_what_one_by_one_makes(offsets: list[int]) -> None:
    maker = clean.Headers("%d" + "t" * 20, 3, "a%sb/v1")
    assert maker.encode_all(offsets) == [encode_headers(maker.at(offset)) for offset in offsets]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("clearwell_offset", b"1")],
        [("clearwell_offset", b"x"), ("clearwell_topic", b"t")],
        [("clearwell_offset", None), ("clearwell_topic", b"t")],
        [("clearwell_offset", b"1"), ("clearwell_topic", None)],
        [("ce_id", b"1"), ("ce_type", b"2")],
    ],
)
def test_a_foreign_record_is_refused_with_one_sentence(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Fatal, match="something other than a Clearwell cleaner"):
        clean.raw_identities([SimpleNamespace(headers=headers)])

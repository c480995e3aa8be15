"""The rule of invariant 4 in Python: total within one partition, and one for a flush and for its rows one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from clearwell.destinations.newest import RowVersion, newest_rows, replaces
from clearwell.destinations.protocol import Claim
from tests.conformance.stores import SIMPLE, Event, batch_of

TIMES = st.none() | st.integers(0, 3).map(lambda us: datetime(2013, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
VERSIONS = st.builds(RowVersion, TIMES, st.just("raw"), st.integers(0, 3), st.just(2))
EVENTS = st.builds(
    Event, st.sampled_from("abc"), TIMES, st.none(), st.integers(0, 5), st.sampled_from(["raw-a", "raw-b"])
)


@given(VERSIONS, VERSIONS)
def test_of_two_versions_one_wins_whichever_comes_first(one: RowVersion, other: RowVersion) -> None:
    assert replaces(one, other) or replaces(other, one)
    assert (replaces(one, other) and replaces(other, one)) == (one == other)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_newer_is_transitive(first: RowVersion, second: RowVersion, third: RowVersion) -> None:
    if replaces(second, first) and replaces(third, second):
        assert replaces(third, first)


@given(VERSIONS, st.integers(0, 3), st.integers(0, 1))
def test_offsets_of_two_partitions_are_not_compared(stored: RowVersion, offset: int, partition: int) -> None:
    """Of equal event times: a key has moved, since partitions were added, and the later arrival wins."""
    assert replaces(stored._replace(raw_offset=offset, raw_partition=partition), stored)


@given(st.lists(EVENTS, max_size=12))
def test_a_flush_keeps_what_its_rows_one_by_one_would_leave(events: list[Event]) -> None:
    left: dict[str, int] = {}
    for index, event in enumerate(events):
        version = RowVersion(event.at, event.raw_topic, event.raw_offset, 0)
        stored = events[left[event.id]] if event.id in left else None
        if stored is None or replaces(version, RowVersion(stored.at, stored.raw_topic, stored.raw_offset, 0)):
            left[event.id] = index
    assert list(newest_rows(batch_of(events, Claim(1, 0), 99), SIMPLE)) == sorted(left.values())

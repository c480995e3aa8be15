"""What every destination must do: idempotent, ordered, fenced (invariant 4), over real servers and over memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clearwell.contract.model import Field, Type
from clearwell.destinations.protocol import Accounts, Claim, Destination
from clearwell.errors import Fatal, Fenced
from tests.conformance.stores import (
    SIMPLE,
    START,
    Event,
    Opener,
    StoreUnderTest,
    batch_of,
    batches_of,
    expected,
    fields_of,
    some_events,
)

Unique = Callable[[str], str]


def deliver(destination: Destination, events: list[Event], generation: int = 1, size: int = 64) -> Claim:
    """Claim, and deliver what is left of `events`."""
    claim = destination.claim("clean-a", 0, generation)
    for batch in batches_of(events, claim, size):
        destination.write(batch)
    return claim


def stored(store: StoreUnderTest) -> list[tuple[Any, ...]]:
    return fields_of(store.rows(), "id", "at", "number", "tail", "_raw_topic", "_raw_partition", "_raw_offset")


def as_stored(events: dict[str, Event]) -> list[tuple[Any, ...]]:
    return [(*event.row, event.raw_topic, 0, event.raw_offset) for _, event in sorted(events.items())]


def test_first_load(store: StoreUnderTest, opened: Opener) -> None:
    events = some_events(random.Random(1), count=500, keys=150)
    destination = opened()
    assert deliver(destination, events) == Claim(epoch=1, next_offset=0, marks={})
    assert stored(store) == as_stored(expected(events))
    assert destination.held() == len(expected(events))
    assert destination.accounts("clean-a") == [Accounts(0, next_offset=500, delivered=500, unrouted=0, repeats=0)]
    assert destination.claim("clean-a", 0, 1) == Claim(epoch=2, next_offset=500, marks={"raw-a": 499})


def test_writing_a_batch_again_counts_nothing_twice(store: StoreUnderTest, opened: Opener) -> None:
    destination = opened()
    claim = destination.claim("clean-a", 0, 1)
    batch = batch_of(some_events(random.Random(2), 40, 20), claim, 60, unrouted=range(40, 55), repeats=range(55, 60))
    destination.write(batch)
    before = store.rows()
    destination.write(batch)
    assert store.rows() == before
    assert destination.accounts("clean-a") == [Accounts(0, next_offset=60, delivered=40, unrouted=15, repeats=5)]


def test_a_full_replay_changes_nothing(store: StoreUnderTest, opened: Opener, unique: Unique) -> None:
    events = some_events(random.Random(3), count=400, keys=100)
    deliver(opened(), events)
    before = store.rows()
    deliver(opened(group=unique("replay")), events, size=100)
    assert store.rows() == before


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_shuffled_partial_replay_changes_nothing(store: StoreUnderTest, opened: Opener, seed: int) -> None:
    rng = random.Random(seed)
    events = some_events(rng, count=400, keys=100)
    deliver(opened(), events)
    before = store.rows()
    again = rng.sample(events, 200)
    deliver(opened(group=f"replay-{seed}-{rng.random()}"), again, size=37)
    assert store.rows() == before


@pytest.mark.parametrize("seed", [21, 22])
def test_any_order_ends_in_the_same_rows(store: StoreUnderTest, opened: Opener, seed: int) -> None:
    rng = random.Random(seed)
    events = some_events(rng, count=300, keys=60)
    deliver(opened(), rng.sample(events, len(events)), size=29)
    assert stored(store) == as_stored(expected(events))


def test_a_late_version_does_not_overwrite_a_newer_one(store: StoreUnderTest, opened: Opener) -> None:
    newer = Event("a", START + timedelta(microseconds=2), 1, raw_offset=5)
    late = Event("a", START + timedelta(microseconds=1), 2, raw_offset=9)
    tied_but_earlier = Event("a", newer.at, 3, raw_offset=4)
    without_time = Event("a", None, 4, raw_offset=10)
    deliver(opened(), [newer, late, tied_but_earlier, without_time], size=1)
    assert fields_of(store.rows(), "id", "number") == [("a", 1)]


def test_a_newer_version_overwrites(store: StoreUnderTest, opened: Opener) -> None:
    versions = [
        Event("a", None, 1, raw_offset=7),
        Event("a", START, 2, raw_offset=1),
        Event("a", START, 3, raw_offset=2),
        Event("a", START + timedelta(microseconds=1), None, raw_offset=0),
    ]
    destination = opened()
    claim = destination.claim("clean-a", 0, 1)
    for offset, event in enumerate(versions):
        destination.write(batch_of([event], claim, offset + 1))
        assert fields_of(store.rows(), "number", "_raw_offset") == [(event.number, event.raw_offset)]


def test_a_key_many_times_in_one_flush(store: StoreUnderTest, opened: Opener) -> None:
    minutes = [3, 9, 9, 1]  # the second nine wins: a later raw offset
    events = [Event("a", START + timedelta(minutes=m), i, raw_offset=i) for i, m in enumerate(minutes)]
    destination = opened()
    deliver(destination, [*events, Event("b", START, 7, raw_offset=4)])
    assert fields_of(store.rows(), "id", "number") == [("a", 2), ("b", 7)]
    assert destination.accounts("clean-a")[0].delivered == 5


def test_killed_between_any_two_calls(store: StoreUnderTest, opened: Opener) -> None:
    events = some_events(random.Random(4), count=120, keys=50)
    for generation, calls_before_death in enumerate((1, 2, 3, 1, 2, 50)):
        destination = opened()
        claim = destination.claim("clean-a", 0, generation)
        assert claim.marks == ({"raw-a": claim.next_offset - 1} if claim.next_offset else {})
        for batch in batches_of(events, claim, 7)[: calls_before_death - 1]:
            destination.write(batch)
        destination.close()
    assert stored(store) == as_stored(expected(events))
    assert opened().accounts("clean-a") == [Accounts(0, next_offset=120, delivered=120, unrouted=0, repeats=0)]


def test_an_older_generation_may_not_claim(opened: Opener) -> None:
    opened().claim("clean-a", 0, 7)
    with pytest.raises(Fenced, match="another deliverer is at work"):
        opened().claim("clean-a", 0, 6)
    assert opened().claim("clean-a", 0, 7).epoch == 2
    assert opened().claim("clean-a", 1, 3).epoch == 1  # another partition


def test_a_zombie_is_refused_and_leaves_no_trace(store: StoreUnderTest, opened: Opener) -> None:
    zombie, successor = opened(), opened()
    old = zombie.claim("clean-a", 0, 1)
    zombie.write(batch_of([Event("a", START, 1, raw_offset=0)], old, 1))
    new = successor.claim("clean-a", 0, 2)
    with pytest.raises(Fenced, match="no longer ours"):
        zombie.write(batch_of([Event("z", START, 2, raw_offset=1)], old, 2))
    successor.write(batch_of([Event("b", START, 3, raw_offset=1)], new, 2))
    with pytest.raises(Fenced):
        zombie.write(batch_of([Event("z", START, 4, raw_offset=2)], old, 3))
    assert fields_of(store.rows(), "id", "number") == [("a", 1), ("b", 3)]
    assert successor.accounts("clean-a")[0].next_offset == 2


def test_a_partition_must_be_claimed_before_it_is_written(store: StoreUnderTest, opened: Opener) -> None:
    with pytest.raises(Fenced):
        opened().write(batch_of([Event("a", START, 1, raw_offset=0)], Claim(1, 0), 1))
    assert store.rows() == []


def test_groups_topics_and_partitions_are_accounted_apart(opened: Opener, unique: Unique) -> None:
    one, other = opened(), opened(group=unique("other"))
    events = [Event("a", START, 1, raw_offset=0)]
    for partition in (2, 0):
        claim = one.claim("clean-a", partition, 1)
        one.write(batch_of(events, claim, 10 + partition, partition=partition, repeats=range(partition)))
    claim = one.claim("clean-b", 0, 1)
    one.write(batch_of([], claim, 5, topic_id="clean-b", unrouted=range(5)))
    assert one.accounts("clean-a") == [Accounts(0, 10, 1, 0, 0), Accounts(2, 12, 1, 0, 2)]
    assert one.accounts("clean-b") == [Accounts(0, 5, 0, 5, 0)]
    assert other.accounts("clean-a") == []


def test_a_recreated_raw_topic_is_news_although_its_offsets_start_again(store: StoreUnderTest, opened: Opener) -> None:
    destination = opened()
    claim = destination.claim("clean-a", 0, 1)
    destination.write(batch_of([Event("a", START, 1, raw_offset=900)], claim, 1))
    again = Event("a", START, 2, raw_offset=0, raw_topic="raw-b")
    destination.write(batch_of([again], replace(claim, marks={"raw-a": 900}), 2))
    assert fields_of(store.rows(), "number", "_raw_topic", "_raw_offset") == [(2, "raw-b", 0)]
    assert destination.claim("clean-a", 0, 1).marks == {"raw-a": 900, "raw-b": 0}


def test_a_recreated_clean_topic_starts_at_its_beginning(opened: Opener) -> None:
    destination = opened()
    deliver(destination, some_events(random.Random(5), 10, 5))
    assert destination.claim("clean-b", 0, 1) == Claim(epoch=1, next_offset=0, marks={})


def test_a_row_that_has_no_key_stops_loudly(store: StoreUnderTest, opened: Opener) -> None:
    destination = opened()
    claim = destination.claim("clean-a", 0, 1)
    good = Event("good", START, 1, raw_offset=0)
    bad = batch_of([good, good], claim, 2, rows=[good.row, (None, START, 2, "cw1.secret")])
    with pytest.raises(Fatal, match="partition 0 of topic clean-a before offset 2") as caught:
        destination.write(bad)
    assert "secret" not in str(caught.value)
    assert destination.accounts("clean-a")[0].next_offset == 0
    destination.write(batch_of([good], claim, 1))
    assert fields_of(store.rows(), "id") == [("good",)]


def test_a_compound_key(store: StoreUnderTest, opened: Opener) -> None:
    schema = replace(SIMPLE, key=("id", "at"))
    events = [Event("a", START + timedelta(microseconds=i // 2), i, raw_offset=i) for i in range(6)]
    destination = opened(schema=schema)
    deliver(destination, events, size=2)
    deliver(opened(schema=schema, group="replay"), events[::-1], size=4)
    assert sorted(fields_of(store.rows(), "id", "number")) == [("a", 1), ("a", 3), ("a", 5)]
    assert destination.held() == 3


def test_a_widened_schema_adds_what_is_missing(store: StoreUnderTest, opened: Opener, unique: Unique) -> None:
    events = [Event(f"k{i}", START, i, raw_offset=i) for i in range(3)]
    deliver(opened(), events)
    wide = replace(SIMPLE, version=2, fields=(SIMPLE.fields[0], Field("gate", Type.INT32), *SIMPLE.fields[1:]))
    destination = opened(schema=wide, group=unique("v2"))
    claim = destination.claim("clean-a", 0, 1)
    replayed = [(events[0].id, 17, *events[0].row[1:])]
    destination.write(batch_of(events[:1], claim, 1, rows=replayed))
    assert [(row["id"], row.get("gate"), row["number"]) for row in store.rows()] == [
        ("k0", 17, 0),
        ("k1", None, 1),
        ("k2", None, 2),
    ]
    narrow = opened(group=unique("v1"))  # an older version goes on beside it
    narrow.write(batch_of(events[:2], narrow.claim("clean-a", 0, 1), 2))
    assert narrow.held() == 3

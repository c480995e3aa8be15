"""Tiles hold what a naive recomputation finds, in whatever order, batches and replays their events come."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from clearwell.contract.features import Aggregate, Entity, Feature, FeatureView, Window
from clearwell.contract.model import Field, Type
from clearwell.destinations.features.lateness import ArrivedEvent, Newest, late_places
from clearwell.destinations.features.seen_events import Chunk, choose
from clearwell.destinations.features.seen_events import CountedEvent as Seen
from clearwell.destinations.features.tiles import SKETCH, Tile, TileBuilder, hash_of, merged, smallest
from clearwell.destinations.features.values_at import distinct, value_at

START = datetime(2013, 1, 1, tzinfo=UTC)
KEY, AT, N, X = (
    Field("id", Type.STRING),
    Field("at", Type.TIMESTAMP),
    Field("n", Type.INT32),
    Field("x", Type.FLOAT64),
)
NAMES = ["id", "at", "n", "x"]
SLIDING = Window(timedelta(minutes=30), timedelta(minutes=10))
TUMBLING = Window(timedelta(hours=1), timedelta(hours=1))
ALL = tuple(
    Feature(f"{aggregate}_{field.name}_{name}", field, aggregate, window)
    for aggregate in Aggregate
    for field in (N, X)
    for name, window in (("sliding", SLIDING), ("tumbling", TUMBLING))
)
VIEW = FeatureView(
    "view", "stream", 1, "at", Entity("one", (KEY,)), ALL, None, timedelta(minutes=20), timedelta(days=1)
)


class Event(NamedTuple):
    key: str
    at: datetime
    n: int | None
    x: float | None
    offset: int


minutes = st.integers(0, 180).map(lambda m: START + timedelta(minutes=m))
parts = st.tuples(
    st.sampled_from("ab"),
    minutes,
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
some_events = st.lists(parts, max_size=40).map(lambda all_: [Event(*one, offset) for offset, one in enumerate(all_)])


def naive(feature: Feature, events: Sequence[Event], time: datetime) -> Any:
    """From the events themselves, by other means than the code's."""
    assert feature.window is not None
    length, slide = feature.window.length.total_seconds(), feature.window.slide.total_seconds()
    end = math.floor(time.timestamp() / slide) * slide
    inside = [e for e in events if end - length <= e.at.timestamp() < end]
    some = [
        (e.at, e.offset, getattr(e, feature.source.name)) for e in inside if getattr(e, feature.source.name) is not None
    ]
    values = [value for _, _, value in some]
    if feature.aggregate is Aggregate.COUNT:
        return len(values)
    if feature.aggregate is Aggregate.DISTINCT:
        return len(set(values))
    if feature.aggregate is Aggregate.SUM:
        return _sum(feature, values)
    if not values:
        return None
    if feature.aggregate is Aggregate.MEAN:
        return float(statistics.mean([_fraction(value) for value in values]))
    if feature.aggregate is Aggregate.LAST:
        return max(some)[2]
    return min(values) if feature.aggregate is Aggregate.MIN else max(values)


def _fraction(value: float) -> Any:
    from fractions import Fraction

    return Fraction(repr(value))


def _sum(feature: Feature, values: list[Any]) -> Any:
    total = sum((_fraction(value) for value in values), start=_fraction(0))
    if feature.source.type is Type.INT32:
        return int(total)
    try:
        return float(total)
    except OverflowError:
        return None


def built(events: Sequence[Event]) -> dict[tuple[Any, ...], dict[int, Tile]]:
    builder = TileBuilder(VIEW, NAMES)
    for event in events:
        builder.add(event[:4], "raw-a", 0, event.offset)
    return builder.tiles


def joined(view: FeatureView, some: Any, more: Any) -> Any:
    """Two sets of tiles of disjoint events, merged."""
    found = {entity: dict(tiles) for entity, tiles in some.items()}
    kinds = [part.kind for part in TileBuilder(view, NAMES).parts]
    for entity, tiles in more.items():
        for start, tile in tiles.items():
            there = found.setdefault(entity, {}).get(start)
            both = tile if there is None else [merged(*one) for one in zip(kinds, there, tile, strict=True)]
            found[entity][start] = both
    return found


@settings(deadline=None)
@given(some_events, minutes)
def test_values_are_those_of_a_naive_recomputation(events: list[Event], time: datetime) -> None:
    tiles = built(events)
    for key in {event.key for event in events}:
        mine = [event for event in events if event.key == key]
        found = value_at(VIEW, tiles[(key,)], time)
        assert found == {one.name: naive(one, mine, time) for one in ALL}


@settings(deadline=None)
@given(some_events, st.randoms(use_true_random=False), st.integers(1, 7))
def test_any_order_and_any_batches_make_the_same_tiles(events: list[Event], rng: Any, size: int) -> None:
    shuffled = rng.sample(events, len(events))
    found: Any = {}
    for at in range(0, len(shuffled), size):
        found = joined(VIEW, found, built(shuffled[at : at + size]))
    assert found == built(events)


def chosen(chunks: dict[int, Chunk], events: Sequence[Event]) -> list[int]:
    seen = sorted(Seen("raw-a", event.offset, event.offset, False) for event in events)
    return [one.place for one in choose(chunks, seen)]


spread = st.lists(st.tuples(st.integers(0, 20_000), minutes), max_size=40, unique_by=lambda one: one[0]).map(
    lambda all_: [Event("a", at, 1, 1.0, offset) for offset, at in sorted(all_)]
)


@settings(deadline=None)
@given(some_events, st.integers(1, 9), st.integers(0, 120), minutes)
def test_late_is_late_by_its_own_entity_however_events_are_batched(
    events: list[Event], size: int, lateness: int, began: datetime
) -> None:
    view, newest = replace(VIEW, lateness=timedelta(minutes=lateness)), dict[Any, Newest]()
    arrived = [ArrivedEvent((e.key,), Newest(e.at, "raw-a", 0, e.offset), e.offset) for e in events if e.at is not None]
    found: set[int] = set()
    for at in range(0, len(arrived), size):
        found |= late_places(view, began, newest, arrived[at : at + size])
    for one in arrived:
        before = [other.newest.time for other in arrived if other.entity == one.entity and other.place < one.place]
        late = max(before, default=one.newest.time) - one.newest.time > view.lateness
        assert (one.place in found) == (late and one.newest.time >= began)


@settings(deadline=None)
@given(spread, st.randoms(use_true_random=False), st.integers(1, 9))
def test_no_event_is_chosen_twice_in_any_replay(events: list[Event], rng: Any, size: int) -> None:
    chunks = dict[int, Chunk]()
    order = rng.sample(events, len(events)) + rng.sample(events, len(events) // 2) + events
    found = [n for at in range(0, len(order), size) for n in chosen(chunks, unique(order[at : at + size]))]
    assert sorted(found) == [event.offset for event in events]


def unique(events: Sequence[Event]) -> list[Event]:
    return list(dict.fromkeys(events))


def test_distinct_is_exact_to_a_bound_and_then_close() -> None:
    assert distinct({hash_of(n) for n in range(SKETCH - 1)}) == SKETCH - 1
    tiles = [smallest({hash_of(n) for n in range(start, start + 30_000)}) for start in range(0, 100_000, 10_000)]
    union: set[int] = set()
    for one in tiles:
        union = smallest(union | one)
    assert abs(distinct(union) / 120_000 - 1) < 0.05  # three standard errors


def test_equal_values_are_one_and_others_are_not() -> None:
    assert hash_of(Decimal("1.0")) == hash_of(Decimal("1.00")) == hash_of(1.0)
    assert hash_of(0.0) == hash_of(-0.0)
    assert len({hash_of(one) for one in ("1.5", 1.25, True, b"x", START, START.date())}) == 6


def test_a_window_holds_its_first_instant_and_not_its_end() -> None:
    view = replace(VIEW, features=(Feature("n", N, Aggregate.COUNT, TUMBLING),))
    tick = timedelta(microseconds=1)
    end = START + timedelta(hours=1)
    events = [Event("a", at, 1, 1.0, n) for n, at in enumerate((START - tick, START, end - tick, end))]
    builder = TileBuilder(view, NAMES)
    for event in events:
        builder.add(event[:4], "raw-a", 0, event.offset)
    tiles = builder.tiles[("a",)]
    assert [value_at(view, tiles, at)["n"] for at in (end - tick, end, end + timedelta(hours=1))] == [1, 2, 1]

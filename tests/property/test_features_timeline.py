"""Values over time are what a naive recomputation finds at every instant, and change at no other ones than are said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clearwell.contract.features import Aggregate, Entity, Feature, FeatureView, Window
from clearwell.contract.model import Field, Type
from clearwell.features.event_history import ViewEvent
from clearwell.features.history import history
from clearwell.features.timeline import timelines

START = datetime(2013, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY, AT, N = Field("id", Type.STRING), Field("at", Type.TIMESTAMP), Field("n", Type.INT32)
WINDOWS = (Window(30 * MINUTE, 10 * MINUTE), Window(20 * MINUTE, 20 * MINUTE))
FEATURES = (
    Feature("last_n", N),
    *(Feature(f"{a}_{i}", N, a, w) for i, w in enumerate(WINDOWS) for a in (Aggregate.COUNT, Aggregate.SUM)),
)
VIEW = FeatureView(
    "view", "stream", 1, "at", Entity("one", (KEY,)), FEATURES, 50 * MINUTE, timedelta(days=1), timedelta(days=1)
)

minutes = st.integers(0, 150).map(lambda m: START + m * MINUTE)
parts = st.tuples(st.sampled_from("ab"), minutes, st.none() | st.integers(-9, 9), st.booleans())
some_events = st.lists(parts, min_size=1, max_size=25).map(
    lambda all_: [ViewEvent((key, at, n), "raw-a", 0, offset, late) for offset, (key, at, n, late) in enumerate(all_)]
)
views = st.sampled_from([VIEW, replace(VIEW, ttl=None), replace(VIEW, features=FEATURES[:1])])


def naive(view: FeatureView, events: Sequence[ViewEvent], time: datetime) -> dict[str, Any]:
    """From the events themselves, by the words of the reference page."""
    known = [(one.row[1], one.offset, one.row[2]) for one in events if one.row[1] <= time]
    nothing = dict.fromkeys(one.name for one in view.features)
    if not known or (view.ttl is not None and time - max(known)[0] > view.ttl):
        return nothing
    found: dict[str, Any] = {"last_n": max(known, key=lambda one: one[:2])[2]}
    for feature in view.aggregated:
        assert feature.window is not None
        slide, length = feature.window.slide.total_seconds(), feature.window.length.total_seconds()
        end = math.floor(time.timestamp() / slide) * slide
        inside = [e.row[2] for e in events if not e.late and end - length <= e.row[1].timestamp() < end]
        values = [value for value in inside if value is not None]
        found[feature.name] = len(values) if feature.aggregate is Aggregate.COUNT else sum(values)
    return found


@settings(deadline=None)
@given(some_events, st.lists(st.integers(-5, 260), min_size=1), views)
def test_an_instant_is_what_its_events_say(events: list[ViewEvent], at: list[int], view: FeatureView) -> None:
    for (key,), timeline in timelines(view, events, {}).items():
        mine = [one for one in events if one.row[0] == key]
        for time in (START + minute * MINUTE for minute in at):  # in any order
            assert timeline.at(time).values == naive(view, mine, time)


@settings(deadline=None)
@given(some_events, views, st.integers(-10, 100), st.integers(100, 300))
def test_a_history_is_the_same_as_asking_at_every_instant(
    events: list[ViewEvent], view: FeatureView, first: int, last: int
) -> None:
    for (key,), timeline in timelines(view, events, {}).items():
        mine = [one for one in events if one.row[0] == key]
        start, end = START + first * MINUTE, START + last * MINUTE
        told = list(history(timeline, start, end))
        assert told[0].time == start
        for one, then in itertools.pairwise(told):
            assert one.time < then.time <= end
        for half in range(2 * (last - first) + 1):
            time = start + half * MINUTE / 2
            now = [one for one in told if one.time <= time][-1]
            assert now.values == naive(view, mine, time)


def test_the_instant_after_ttl_is_told() -> None:
    (timeline,) = timelines(VIEW, [ViewEvent(("a", START, 1), "raw-a", 0, 0, False)], {}).values()
    *_, last = history(timeline, None, START + timedelta(days=1))
    assert (last.time, last.expired) == (START + 50 * MINUTE + timedelta(microseconds=1), True)
    assert set(last.values.values()) == {None}

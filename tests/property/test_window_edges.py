"""Ends of windows, ttl and tiles to the microsecond, against exact fractions: what the reference calls open is open.

"At time t a window holds the events from end - window (inclusive) to end (exclusive); end is the last multiple of the
slide since 1970 UTC that is not after t." "So long after its newest event an entity has no values any more."
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from clearwell.contract.features import MICROSECOND, Aggregate, Feature, FeatureView, Window
from clearwell.destinations.features import retention_floor
from clearwell.destinations.features.tiles import EPOCH, TileBuilder, microseconds
from clearwell.destinations.features.values_at import bounds, value_at
from clearwell.features.event_history import ViewEvent
from clearwell.features.timeline import Timeline
from tests.property.test_feature_tiles import NAMES, VIEW, N

TICK = MICROSECOND
slides = st.sampled_from([1, 7, 1_000_000, 90_000_003, 600_000_000, 86_400_000_000]) | st.integers(1, 10**10)
"""Microseconds, of which a float of seconds holds many inexactly."""
multiples = st.integers(1, 5)
around = st.sampled_from([-62_135_596_800_000_000, -1, 0, 1_356_998_400_000_000, 1_790_000_000_123_457])
steps = st.integers(-3, 3)


def instant(at: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return EPOCH + timedelta(microseconds=at)


def view_of(slide: int, times: int, ttl: timedelta | None = None) -> FeatureView:
    window = Window(slide * times * TICK, slide * TICK)
    return replace(VIEW, features=(Feature("n", N, Aggregate.COUNT, window),), ttl=ttl)


def held(events: Sequence[int], slide: int, times: int, at: int) -> int:
    """How many events the reference says that a window holds, in exact fractions of seconds."""
    second = Fraction(10**6)
    length, step = Fraction(slide * times) / second, Fraction(slide) / second
    end = math.floor(Fraction(at) / second / step) * step
    return sum(end - length <= Fraction(event) / second < end for event in events)


@st.composite
def edges(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """A slide, how many of it a window is long, an instant, and events at and beside the ends of its window."""
    slide, times, base = draw(slides), draw(multiples), draw(around)
    lowest = microseconds(datetime.min.replace(tzinfo=EPOCH.tzinfo)) + slide * (times + 3)
    at = max(base - base % slide + slide * draw(steps), lowest) + draw(st.sampled_from([-1, 0, 1, slide // 2]))
    end = at - at % slide
    ends = (end - slide * times, end - slide, end)
    events = [edge + beside for edge in ends for beside in draw(st.lists(st.sampled_from([-1, 0, 1]), max_size=3))]
    return slide, times, at, events


@settings(max_examples=300, deadline=None)
@given(edges())
def test_a_window_holds_its_first_instant_and_not_its_end(case: tuple[int, int, int, list[int]]) -> None:
    slide, times, at, events = case
    view = view_of(slide, times)
    builder = TileBuilder(view, NAMES)
    for offset, event in enumerate(events):
        builder.add(("a", instant(event), 1, 1.0), "raw-a", 0, offset)
    tiles = builder.tiles.get(("a",), {})
    assert value_at(view, tiles, instant(at)) == {"n": held(events, slide, times, at)}
    assert all(start % (view.tile // TICK) == 0 for start in tiles if view.tile is not None)


@settings(max_examples=200, deadline=None)
@given(edges(), st.integers(0, 3))
def test_history_changes_where_windows_and_ttl_end_and_nowhere_else(
    case: tuple[int, int, int, list[int]], more: int
) -> None:
    slide, times, at, events = case
    ttl = (slide * (times + 1) + more) * TICK
    view = view_of(slide, times, ttl)
    builder = TileBuilder(view, ["id", "at", "n"])
    rows = [("a", instant(event), 1) for event in events]
    for offset, row in enumerate(rows):
        builder.add(row, "raw-a", 0, offset)
    arrived = [ViewEvent(row, "raw-a", 0, offset, False) for offset, row in enumerate(rows)]
    timeline = Timeline(view, arrived, builder.tiles.get(("a",), {}), {})

    def right(now: int) -> int | None:
        before = [event for event in events if event <= now]
        if not before or Fraction(now - max(before)) > Fraction(ttl // TICK):
            return None
        return held(events, slide, times, now)

    instants = [at, *events, *(event + ttl // TICK + beside for event in events for beside in (0, 1))]
    for now in instants:
        assert timeline.at(instant(now)).values == {"n": right(now)}
    last = max(instants)
    changes = [microseconds(one) for one in timeline.changes(instant(min(instants) - 1), instant(last))]
    for edge in changes:
        assert timeline.at(instant(edge)).values == {"n": right(edge)}
    for edge, then in pairwise([*changes, last + 1]):  # until the next, nothing is another
        assert right(edge) == right(then - 1)


@settings(max_examples=200, deadline=None)
@given(edges())
def test_the_floor_is_beneath_every_window_that_it_says_is_whole(case: tuple[int, int, int, list[int]]) -> None:
    slide, times, at, _ = case
    view = view_of(slide, times)
    floor = retention_floor.wanted(view, instant(at))
    if floor is not None and view.aggregated[0].window is not None:
        whole = microseconds(retention_floor.whole_since(view, floor))
        for now in (whole, whole + 1, at - view.lateness // TICK, at):
            assert bounds(view.aggregated[0].window, now)[0] >= microseconds(floor)

"""The values of one entity over time, from its events, by the function that serves them. Pure: no I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from clearwell.contract.features import MICROSECOND, Feature, FeatureView
from clearwell.destinations.features.history_files import columns_of
from clearwell.destinations.features.tiles import EPOCH, Entity, Tile, TileBuilder, microseconds, parts_of
from clearwell.destinations.features.values_at import bounds, feature_at
from clearwell.features.event_history import ViewEvent


@dataclass(frozen=True, slots=True)
class Moment:
    """What an entity's features are at `time`, by name; all None before its first event, and where `ttl` has passed.

    `event_time` is that of its newest event at `time`; None: there was none yet.
    """

    time: datetime
    values: dict[str, Any]
    event_time: datetime | None
    expired: bool


class Timeline:
    """One entity. `at` is what a store with all of the events, and none that is newer than the instant, would serve."""

    def __init__(
        self, view: FeatureView, events: Iterable[ViewEvent], tiles: Mapping[int, Tile], ranks: Mapping[str, int]
    ) -> None:
        """`tiles` are those of the events that are not late; `ranks` are of the incarnations of raw."""
        names = [field.name for field in columns_of(view)]
        time = names.index(view.event_time)
        self._view = view
        self._parts = parts_of(view)
        self._plain = [(feature.name, names.index(feature.source.name)) for feature in view.plain]
        # Of two with one time the later incarnation of raw, then the higher raw offset is newer, as in the store.
        self._events = sorted(
            events,
            key=lambda event: (event.row[time], ranks.get(event.topic, 0), event.offset, event.partition, event.topic),
        )
        self._times: list[datetime] = [event.row[time] for event in self._events]
        self._starts = sorted(tiles)
        self._tiles = tiles
        self._known: dict[str, tuple[int, Any]] = {}

    @property
    def times(self) -> Sequence[datetime]:
        """When its events were, in order."""
        return self._times

    def at(self, time: datetime) -> Moment:
        """The values at an instant (with a time zone)."""
        index = bisect_right(self._times, time) - 1
        nothing: dict[str, Any] = dict.fromkeys(feature.name for feature in self._view.features)
        if index < 0:
            return Moment(time, nothing, None, False)
        newest = self._times[index]
        if self._view.ttl is not None and time - newest > self._view.ttl:
            return Moment(time, nothing, newest, True)
        row = self._events[index].row
        plain = {name: row[at] for name, at in self._plain}
        return Moment(time, nothing | plain | self._windowed(microseconds(time)), newest, False)

    def changes(self, start: datetime, end: datetime) -> list[datetime]:
        """The instants after `start`, up to `end`, at which a value may be another than right before."""
        times = set(self._times)
        if self._view.ttl is not None:
            times |= {time + self._view.ttl + MICROSECOND for time in self._times}
        first, last = microseconds(start), microseconds(end)
        edges = {edge for feature in self._view.aggregated for edge in self._edges(feature)}
        times |= {EPOCH + timedelta(microseconds=edge) for edge in edges if first < edge <= last}
        return sorted(time for time in times if start < time <= end)

    def _edges(self, feature: Feature) -> Iterable[int]:
        """When the feature's tiles come into its window, and when they leave it."""
        assert feature.window is not None
        slide, length = feature.window.slide // MICROSECOND, feature.window.length // MICROSECOND
        for begin in dict.fromkeys(start - start % slide for start in self._starts):
            yield begin + slide
            yield begin + slide + length

    def _windowed(self, at: int) -> dict[str, Any]:
        """A window's value is kept until it moves on."""
        values = {}
        for feature in self._view.aggregated:
            assert feature.window is not None
            first, end = bounds(feature.window, at)
            until, value = self._known.get(feature.name, (None, None))
            if until != end:
                starts = self._starts[bisect_left(self._starts, first) : bisect_left(self._starts, end)]
                value = feature_at(self._parts, feature, {start: self._tiles[start] for start in starts}, at)
                self._known[feature.name] = (end, value)
            values[feature.name] = value
        return values


def timelines(view: FeatureView, events: Iterable[ViewEvent], ranks: Mapping[str, int]) -> dict[Entity, Timeline]:
    """Those of all entities that `events` are of; `ranks` are those of `destinations.features.incarnations`."""
    names = [field.name for field in columns_of(view)]
    keys = [names.index(key.name) for key in view.entity.keys]
    builder = TileBuilder(view, names) if view.tile is not None else None
    by_entity: dict[Entity, list[ViewEvent]] = {}
    for event in events:
        by_entity.setdefault(tuple([event.row[at] for at in keys]), []).append(event)
        if builder is not None and not event.late:
            builder.add(event.row, event.topic, event.partition, event.offset)
    tiles = builder.tiles if builder is not None else {}
    return {entity: Timeline(view, own, tiles.get(entity, {}), ranks) for entity, own in by_entity.items()}

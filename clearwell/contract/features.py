"""What a feature view is, as plain frozen values: an entity, and features of it, plain or over windows of event time.

The words of the language are in `clearwell.contract.feature_language`; what the values are, in
`clearwell.destinations.features.tiles`.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from dataclasses import field as setting
from datetime import timedelta
from enum import StrEnum

from clearwell.contract.model import Field, Type
from clearwell.errors import Location

MICROSECOND = timedelta(microseconds=1)


class Aggregate(StrEnum):
    """What is made of a field's values in a window; nulls are passed over by all of them.

    count: how many values. sum, mean: of numbers. min, max: of what is ordered. last: the value of the newest event.
    distinct: how many different values; exact below 4,096 in the window, from there on an estimate (error 1.6 %).
    """

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    DISTINCT = "distinct"


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of event time, `length` long, moved on every `slide` (equal to `length`: tumbling), from 1970 UTC on.

    At time t it holds the events from end - length (inclusive) to end (exclusive), where end is the last multiple of
    `slide` that is not after t: values change at multiples of `slide` and nowhere else.
    """

    length: timedelta
    slide: timedelta

    @property
    def tumbling(self) -> bool:
        """Whether each event is in one window alone."""
        return self.length == self.slide


@dataclass(frozen=True, slots=True)
class Feature:
    """One value of an entity. `source` is the clean field it comes from.

    Without `aggregate` and `window` it is plain: the field's value in the entity's newest event (null where that is).
    """

    name: str
    source: Field
    aggregate: Aggregate | None = None
    window: Window | None = None
    location: Location | None = setting(default=None, compare=False)

    @property
    def type(self) -> Type:
        """The type of the value; of a list, `source.items` is that of its items."""
        if self.aggregate in (Aggregate.COUNT, Aggregate.DISTINCT):
            return Type.INT64
        if self.aggregate is Aggregate.MEAN:
            return Type.FLOAT64
        source_type = self.source.clean_type
        return Type.INT64 if self.aggregate is Aggregate.SUM and source_type is Type.INT32 else source_type


@dataclass(frozen=True, slots=True)
class Entity:
    """What the features are of; `keys` are the clean fields that tell one from another, in the order written."""

    name: str
    keys: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class FeatureView:
    """The features of one entity from one stream: the route `to: features.<name>` of a contract.

    `ttl`: so long after its newest event an entity has no values any more (None: for ever). `lateness`: an event whose
    time is further behind the newest one of its entity before it is late, and in no window, unless it is of before the
    view began. `ahead`: an event whose time is further ahead of the clock is refused.
    """

    name: str
    stream: str
    version: int
    event_time: str
    entity: Entity
    features: tuple[Feature, ...]
    ttl: timedelta | None
    lateness: timedelta
    ahead: timedelta

    @property
    def plain(self) -> tuple[Feature, ...]:
        """The features that are the latest value of a field."""
        return tuple(feature for feature in self.features if feature.aggregate is None)

    @property
    def aggregated(self) -> tuple[Feature, ...]:
        """The features over windows."""
        return tuple(feature for feature in self.features if feature.aggregate is not None)

    @property
    def tile(self) -> timedelta | None:
        """How long a tile is: the longest of which every slide and every window is a multiple; None: no tiles."""
        windows = [feature.window for feature in self.features if feature.window is not None]
        parts = [part // MICROSECOND for window in windows for part in (window.length, window.slide)]
        return math.gcd(*parts) * MICROSECOND if parts else None

    def digest(self) -> str:
        """16 hex digits that differ where the values could: of names, types, windows, ttl and lateness.

        Not of the route's `when`, nor of the stream's version.
        """
        said = {
            "view": self.name,
            "stream": self.stream,
            "event_time": self.event_time,
            "keys": [(key.name, key.clean_type) for key in self.entity.keys],
            "features": [_said(feature) for feature in self.features],
            "ttl": _microseconds(self.ttl),
            "lateness": _microseconds(self.lateness),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _said(feature: Feature) -> list[object]:
    window = feature.window
    lengths = [_microseconds(window.length), _microseconds(window.slide)] if window else []
    source = feature.source
    type_ = (source.clean_type, source.items, source.precision, source.scale)
    return [feature.name, source.name, type_, feature.aggregate, lengths]


def _microseconds(span: timedelta | None) -> int | None:
    return None if span is None else span // MICROSECOND

"""Tiles: what is kept of the events of one entity in one stretch of event time. Pure: no I/O.

A tile is a list of partial aggregates. They are exact and don't depend on the order of the events: sums are of decimals
(a float64 counts as the decimal it is written as, so 0.1 + 0.2 is 0.3), `last` goes by event time and then by raw
record, `distinct` keeps the 4,096 smallest of 63-bit hashes. So tiles of the same events are equal, however the events
were batched, and tiles of disjoint events can be merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from clearwell.contract.features import MICROSECOND, Aggregate, FeatureView
from clearwell.contract.model import Field, Type

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SKETCH = 4_096
"""How many hashes `distinct` keeps: the smallest, whose density tells how many there are (k minimum values)."""

EXACT = Context(prec=1_500)
"""Digits for any sum of float64 (some 620 between the largest and the smallest), with room for the count of terms."""

WHOLE = (Type.INT32, Type.INT64)

Tile = list[Any]
"""Partial aggregates in the order of `parts_of`: count int, sum int or Decimal, min and max a value or None, last a
`Last` or None, distinct a set of hashes."""

Entity = tuple[Any, ...]
"""The values of an entity's keys."""


class PartKind(StrEnum):
    """The partial aggregates that all aggregates are made of."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    LAST = "last"
    DISTINCT = "distinct"


@dataclass(frozen=True, slots=True)
class PartialAggregate:
    """One partial aggregate of one clean field."""

    kind: PartKind
    field: Field

    @property
    def name(self) -> str:
        """Such as "sum(dep_delay)": no two parts of a view have the same."""
        return f"{self.kind}({self.field.name})"


class Last(NamedTuple):
    """A value and its place in the order of events: compared as a tuple, which never comes to the value."""

    at: datetime
    offset: int
    partition: int
    topic: str
    value: Any


def parts_needed(aggregate: Aggregate) -> tuple[PartKind, ...]:
    """What an aggregate is made of."""
    return (PartKind.SUM, PartKind.COUNT) if aggregate is Aggregate.MEAN else (PartKind(aggregate.value),)


def parts_of(view: FeatureView) -> tuple[PartialAggregate, ...]:
    """The parts that a tile of the view holds, in order of their names."""
    parts = {
        PartialAggregate(kind, feature.source)
        for feature in view.aggregated
        if feature.aggregate is not None
        for kind in parts_needed(feature.aggregate)
    }
    return tuple(sorted(parts, key=lambda part: part.name))


def microseconds(time: datetime) -> int:
    """Since 1970 UTC."""
    return (time - EPOCH) // MICROSECOND


def empty_tile(parts: Sequence[PartialAggregate]) -> Tile:
    """The tile of no events."""
    return [_EMPTY[part.kind](part.field.clean_type) for part in parts]


_EMPTY: Mapping[PartKind, Callable[[Type], Any]] = {
    PartKind.COUNT: lambda _: 0,
    PartKind.SUM: lambda type_: 0 if type_ in WHOLE else Decimal(0),
    PartKind.MIN: lambda _: None,
    PartKind.MAX: lambda _: None,
    PartKind.LAST: lambda _: None,
    PartKind.DISTINCT: lambda _: set(),
}


class TileBuilder:
    """Makes tiles of events: `tiles[entity][start]`, where start is in microseconds since 1970.

    `names` are the names of the columns of the rows that `add` is given. An event whose entity or time is null is in no
    tile. Which events count (once, and not late) is the caller's to say.
    """

    def __init__(self, view: FeatureView, names: Sequence[str]) -> None:
        """The view must have windows."""
        assert view.tile is not None
        self.parts = parts_of(view)
        self.tiles: dict[Entity, dict[int, Tile]] = {}
        self._size = view.tile // MICROSECOND
        self._time = names.index(view.event_time)
        self._keys = [names.index(key.name) for key in view.entity.keys]
        self._plan = [(part.kind, names.index(part.field.name), part.field.clean_type) for part in self.parts]

    def add(self, row: Sequence[Any], topic: str, partition: int, offset: int) -> None:
        """Add one event, whose raw record is `offset` of `partition` of the topic with the id `topic`."""
        entity, time = tuple([row[at] for at in self._keys]), row[self._time]
        if time is None or None in entity:
            return
        since = microseconds(time)
        start = since - since % self._size
        tiles = self.tiles.setdefault(entity, {})
        tile = tiles.get(start)
        if tile is None:
            tile = tiles[start] = empty_tile(self.parts)
        for at, (kind, column, type_) in enumerate(self._plan):
            value = row[column]
            if value is not None:
                tile[at] = _added(kind, tile[at], value, type_, (time, offset, partition, topic))


def _added(kind: PartKind, so_far: Any, value: Any, type_: Type, event_order: tuple[datetime, int, int, str]) -> Any:
    if kind is PartKind.COUNT:
        return so_far + 1
    if kind is PartKind.SUM:
        return so_far + value if type_ in WHOLE else EXACT.add(so_far, _decimal(value))
    if kind is PartKind.MIN:
        return value if so_far is None or value < so_far else so_far
    if kind is PartKind.MAX:
        return value if so_far is None or value > so_far else so_far
    if kind is PartKind.LAST:
        return Last(*event_order, value) if so_far is None or event_order > so_far[:4] else so_far
    so_far.add(hash_of(value))
    return smallest(so_far) if len(so_far) > 2 * SKETCH else so_far


def merged(kind: PartKind, left: Any, other: Any) -> Any:
    """The partial aggregate of two disjoint sets of events."""
    if kind is PartKind.COUNT or (kind is PartKind.SUM and type(left) is int):
        return left + other
    if kind is PartKind.SUM:
        return EXACT.add(left, other)
    if kind is PartKind.DISTINCT:
        return smallest(left | other)
    if left is None or other is None:
        return other if left is None else left
    if kind is PartKind.LAST:
        return max(left, other, key=lambda last: last[:4])
    return min(left, other) if kind is PartKind.MIN else max(left, other)


def smallest(hashes: set[int]) -> set[int]:
    """The SKETCH smallest: of a union they are those of the smallest of each."""
    return hashes if len(hashes) <= SKETCH else set(sorted(hashes)[:SKETCH])


@lru_cache(8_192, typed=True)  # some 2 MB
def hash_of(value: Any) -> int:
    """63 bits of BLAKE2b of a value in its one spelling; equal values have equal hashes."""
    if isinstance(value, bytes):
        text = value
    elif isinstance(value, datetime):
        text = str(microseconds(value)).encode()
    elif isinstance(value, float | Decimal):
        number = _decimal(value)
        text = format(EXACT.normalize(number) if number else Decimal(0), "E").encode()
    elif isinstance(value, date):
        text = value.isoformat().encode()
    else:
        text = str(value).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def _decimal(value: float | Decimal) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)

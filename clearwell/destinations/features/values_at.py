"""What the features of one entity are at one instant: the one function that serving, history and verify all use.

A window of length w and slide s holds at time t the events from end - w (inclusive) to end (exclusive), where end is
the last multiple of s since 1970 UTC that is not after t. So a value changes at multiples of its slide only, is as old
as one slide at most, and doesn't depend on events at or after t.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from clearwell.contract.features import MICROSECOND, Aggregate, Feature, FeatureView, Window
from clearwell.contract.model import Type
from clearwell.contract.values import INT_BOUNDS
from clearwell.destinations.features.tiles import (
    SKETCH,
    WHOLE,
    PartialAggregate,
    Tile,
    empty_tile,
    merged,
    microseconds,
    parts_needed,
    parts_of,
)

_HASHES = 2**63
_LOWEST, _HIGHEST = INT_BOUNDS[Type.INT64]


def value_at(view: FeatureView, tiles: Mapping[int, Tile], time: datetime) -> dict[str, Any]:
    """The windowed features of an entity at `time`, by name, from its tiles by start (microseconds since 1970).

    Of no events count, distinct and sum are 0 and the rest is None. A sum that is beyond int64 or float64 is None.
    """
    parts, at = parts_of(view), microseconds(time)
    return {feature.name: feature_at(parts, feature, tiles, at) for feature in view.aggregated}


def feature_at(parts: Sequence[PartialAggregate], feature: Feature, tiles: Mapping[int, Tile], at: int) -> Any:
    """One of the windowed features at `at`, in microseconds since 1970; `parts` are those of its view."""
    assert feature.aggregate is not None and feature.window is not None
    first, end = bounds(feature.window, at)
    within = [tile for start, tile in tiles.items() if first <= start < end]
    needed = [PartialAggregate(kind, feature.source) for kind in parts_needed(feature.aggregate)]
    return _value(feature, [_folded(part, parts.index(part), within) for part in needed])


def bounds(window: Window, at: int) -> tuple[int, int]:
    """From when (inclusive) to when (exclusive) a window holds events at `at`; all in microseconds since 1970."""
    slide = window.slide // MICROSECOND
    end = at - at % slide
    return end - window.length // MICROSECOND, end


def reach(view: FeatureView, at: int) -> tuple[int, int]:
    """Between which starts (the second exclusive) tiles matter to any window at `at`."""
    all_bounds = [bounds(feature.window, at) for feature in view.aggregated if feature.window is not None]
    return min(first for first, _ in all_bounds), max(end for _, end in all_bounds)


def _folded(part: PartialAggregate, number: int, tiles: Iterable[Tile]) -> Any:
    (folded,) = empty_tile([part])
    for tile in tiles:
        folded = merged(part.kind, folded, tile[number])
    return folded


def _value(feature: Feature, folded: Sequence[Any]) -> Any:
    aggregate, first = feature.aggregate, folded[0]
    if aggregate is Aggregate.MEAN:
        return float(Fraction(first) / folded[1]) if folded[1] else None
    if aggregate is Aggregate.SUM:
        return _sum(feature.source.clean_type, first)
    if aggregate is Aggregate.LAST:
        return None if first is None else first.value
    if aggregate is Aggregate.DISTINCT:
        return distinct(first)
    return first


def _sum(type_: Type, exact: int | Decimal) -> int | float | Decimal | None:
    if type_ in WHOLE:
        return int(exact) if _LOWEST <= exact <= _HIGHEST else None
    if type_ is Type.FLOAT64:
        rounded = float(exact)
        return rounded if abs(rounded) != float("inf") else None
    return exact


def distinct(hashes: set[int]) -> int:
    """How many values a sketch stands for: exact below SKETCH, then estimated from how dense the smallest hashes are.

    Bar-Yossef et al. 2002: (k - 1) / (the k-th smallest, as a fraction of all); standard error 1 / sqrt(k - 2).
    """
    return len(hashes) if len(hashes) < SKETCH else round((SKETCH - 1) * _HASHES / max(hashes))

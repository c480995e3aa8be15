"""Serving against training: what was compared of a view, as a person may see it (invariant 9)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from clearwell.contract.feature_language import spelled
from clearwell.contract.features import Aggregate, FeatureView
from clearwell.control.platform import Platform
from clearwell.features import verify
from clearwell.features.declared_views import find_view
from clearwell.features.verify import ComparedValue

EXAMPLES = 3
"""Mismatches of a feature that a summary shows."""

_HIDDEN = "(protected)"


class ValueComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One value as it was served and as history has it; what is protected is not shown."""

    feature: str
    entity: Mapping[str, Any]
    time: datetime
    served: Any
    computed: Any
    same: bool


class FeatureVerification(msgspec.Struct, frozen=True, kw_only=True):
    """One feature, with the first of its mismatches."""

    feature: str
    compared: int
    mismatches: int
    examples: Sequence[ValueComparison]


class ViewVerification(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, in numbers. `seed` selects the entities; `late` and `beneath` are those of `ViewDetails`."""

    view: str
    digest: str
    seed: int
    entities: int
    events: int
    lateness: str
    late: int
    beneath: int
    compared: int
    mismatches: int
    features: Sequence[FeatureVerification]


@dataclass(frozen=True, slots=True)
class VerifiedView:
    """The numbers, and each comparison."""

    summary: ViewVerification
    comparisons: Sequence[ValueComparison]


def verify_view(platform: Platform, name: str, sample: int = 100, seed: int | None = None) -> VerifiedView:
    """Compare up to `sample` entities, now and at instants of the past, to the last bit.

    Raises ConfigError without such a view, or where it was never delivered to; Retryable where a server is not well.
    """
    view = find_view(platform.settings.schemas, name).view
    seed = random.randrange(2**31) if seed is None else seed  # noqa: S311 - a sample, no secret
    outcome = verify.verify(platform.settings, view, sample, seed)
    comparisons = [_comparison(view, compared) for compared in outcome.compared]
    summary = ViewVerification(
        view=outcome.view,
        digest=outcome.digest,
        seed=seed,
        entities=outcome.entities,
        events=outcome.events,
        lateness=spelled(view.lateness),
        late=outcome.excluded_events.late,
        beneath=outcome.excluded_events.beneath,
        compared=len(comparisons),
        mismatches=sum(not comparison.same for comparison in comparisons),
        features=[_feature(feature.name, comparisons) for feature in view.features],
    )
    return VerifiedView(summary, comparisons)


def _feature(name: str, comparisons: Sequence[ValueComparison]) -> FeatureVerification:
    own = [comparison for comparison in comparisons if comparison.feature == name]
    mismatches = [compared for compared in own if not compared.same]
    return FeatureVerification(
        feature=name, compared=len(own), mismatches=len(mismatches), examples=mismatches[:EXAMPLES]
    )


def _comparison(view: FeatureView, value: ComparedValue) -> ValueComparison:
    counts = value.feature.aggregate in (Aggregate.COUNT, Aggregate.DISTINCT)
    hidden = value.feature.source.privacy is not None and not counts
    return ValueComparison(
        feature=value.feature.name,
        entity={
            key.name: part if key.privacy is None else _HIDDEN
            for key, part in zip(view.entity.keys, value.entity, strict=True)
        },
        time=value.time,
        served=_HIDDEN if hidden else value.served,
        computed=_HIDDEN if hidden else value.computed,
        same=value.same,
    )

"""What services say of themselves, for `clearwell status`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from clearwell import settings
from clearwell.errors import ClearwellError
from clearwell.registry import Registry, deliveries, losses
from clearwell.registry.deliveries import Condition, State

UNWELL = (State.RETRYING, State.FAILING)
"""States that someone should look at."""

_OURS = ("archive", "cleaner.", "deliverer.", "letters.")
"""How the names of groups begin."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the registry knows of the services of a stack, by consumer group.

    `conditions` of deliverers; `lost`: offsets that retention removed before the group had read them, all in all.
    """

    conditions: Mapping[str, Condition]
    lost: Mapping[str, int]


def services_health(groups: Collection[str]) -> Told:
    """What is known of `groups`; nothing when the registry can't be asked: status tells that too."""
    if not any(group.startswith(_OURS) for group in groups):
        return Told({}, {})
    try:
        with closing(Registry(settings.load().postgres)) as registry, registry.session() as session:
            known, lost = deliveries.all_of(session), losses.totals(session)
    except ClearwellError:
        return Told({}, {})
    conditions = {
        one.delivery.group: replace(one.condition, state=State.PAUSED) if one.paused else one.condition
        for one in known
        if one.delivery.group in groups
    }
    return Told(conditions, {group: number for group, number in lost.items() if group in groups})

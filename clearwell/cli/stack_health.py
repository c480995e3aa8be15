"""What deliverers say of themselves, for `clearwell status`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from clearwell import settings
from clearwell.errors import ClearwellError
from clearwell.registry import Registry, deliveries
from clearwell.registry.deliveries import Condition, State

UNWELL = (State.RETRYING, State.FAILING)
"""States that someone should look at."""


def deliverers_health(groups: Collection[str]) -> Mapping[str, Condition]:
    """The conditions of the deliverers among `groups`; none when the registry can't be asked: status tells that too."""
    if not any(group.startswith("deliverer.") for group in groups):
        return {}
    try:
        registry = Registry(settings.load().postgres)
        try:
            with registry.session() as session:
                found = deliveries.all_of(session)
        finally:
            registry.close()
    except ClearwellError:
        return {}
    return {
        one.delivery.group: replace(one.condition, state=State.PAUSED) if one.paused else one.condition
        for one in found
        if one.delivery.group in groups
    }

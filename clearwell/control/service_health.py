"""What services say of themselves: how each deliverer is doing, and what was lost before a service had read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from clearwell.control.platform import Platform
from clearwell.registry import deliveries, losses
from clearwell.registry.deliveries import DelivererState

_OURS = ("archive", "cleaner.", "deliverer.", "letters.")
"""How the names of groups begin."""


class ServiceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `state` and `last_error` are what a deliverer says, None for the others.

    `lost`: offsets that retention removed before the service had read them, since its stream is there.
    """

    state: DelivererState | None = None
    last_error: str | None = None
    lost: int = 0

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.state not in (DelivererState.RETRYING, DelivererState.FAILING)


def show_health(platform: Platform, groups: Collection[str]) -> Mapping[str, ServiceHealth]:
    """What is known of these services, by consumer group. Raises as `Platform.looking`."""
    ours = [group for group in groups if group.startswith(_OURS)]
    if not ours:
        return {}
    with platform.looking() as session:
        known = {registered.delivery.group: registered for registered in deliveries.list_deliveries(session)}
        lost = losses.totals(session)
    return {
        group: ServiceHealth(
            state=known[group].state if group in known else None,
            last_error=known[group].health.last_error if group in known else None,
            lost=lost.get(group, 0),
        )
        for group in ours
    }

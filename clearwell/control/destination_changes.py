"""What may be done to a destination: planned first, so that a dry run says what would follow, then applied.

Applying a plan carries it out in one transaction with its guards and its audit, and refuses when what it rests on has
changed since (code "plan_is_old"). Replays are in `destination_replay`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from clearwell.control.deliveries import find_deliveries
from clearwell.control.destination_spec import split_name
from clearwell.control.platform import Actor, Platform
from clearwell.control.published_contracts import readable
from clearwell.errors import ConfigError, Hint
from clearwell.registry import contracts, deliveries, destinations
from clearwell.registry.deliveries import Delivery


@dataclass(frozen=True, slots=True)
class PauseChange:
    """Deliveries to a destination paused, or resumed; `before` says for each whether it was paused."""

    destination: str
    paused: bool
    deliveries: Sequence[Delivery]
    before: Sequence[bool]


@dataclass(frozen=True, slots=True)
class DestinationRemoval:
    """A registered destination to be forgotten, as it was configured."""

    kind: str
    name: str
    config: Mapping[str, Any]

    @property
    def destination(self) -> str:
        """As a contract's route names it."""
        return f"{self.kind}.{self.name}"


def plan_pause(platform: Platform, destination: str, stream: str | None = None) -> PauseChange:
    """Stop delivering, of one stream or of all; positions stay. Raises ConfigError when no route leads to it."""
    return _plan_paused(platform, destination, stream, True)


def plan_resume(platform: Platform, destination: str, stream: str | None = None) -> PauseChange:
    """Deliver on from the positions. Raises as `plan_pause`."""
    return _plan_paused(platform, destination, stream, False)


def plan_removal(platform: Platform, destination: str) -> DestinationRemoval:
    """Forget a destination; what it holds stays.

    Raises ConfigError when it is not registered, or (code "destination_in_use") a route leads to it.
    """
    kind, name = split_name(destination)
    with platform.looking() as session:
        config = _unused(session, kind, name).config
    return DestinationRemoval(kind, name, config)


def apply(platform: Platform, actor: Actor, plan: PauseChange | DestinationRemoval) -> None:
    """Carry a plan out. Raises ConfigError (code "plan_is_old") when what it rests on has changed: nothing is then."""
    with platform.changing(actor) as session:
        match plan:
            case PauseChange():
                _set_paused(session, plan)
            case DestinationRemoval():
                _remove(session, plan)


def _plan_paused(platform: Platform, destination: str, stream: str | None, paused: bool) -> PauseChange:
    selected = [delivery for _, delivery in find_deliveries(platform, destination, stream)]
    with platform.looking() as session:
        before = [bool(deliveries.is_paused(session, delivery.group)) for delivery in selected]
    return PauseChange(destination, paused, selected, before)


def _set_paused(session: Session, plan: PauseChange) -> None:
    for delivery, before in zip(plan.deliveries, plan.before, strict=True):
        now = bool(deliveries.is_paused(session, delivery.group, for_update=True))
        if now != before or (before != plan.paused and not deliveries.set_paused(session, delivery, plan.paused)):
            raise _is_old(
                f"{delivery.stream} to {plan.destination}", "was paused or resumed meanwhile", plan.destination
            )


def _remove(session: Session, plan: DestinationRemoval) -> None:
    registered = _unused(session, plan.kind, plan.name, for_update=True)
    if registered.config != plan.config:
        raise _is_old(plan.destination, "has another configuration", plan.destination)
    destinations.remove(session, plan.kind, plan.name)


def _unused(session: Session, kind: str, name: str, *, for_update: bool = False) -> destinations.RegisteredDestination:
    """The registered destination. Raises ConfigError when there is none, or it is in use."""
    registered = destinations.get(session, kind, name, for_update=for_update)
    users = [
        f"{contract.stream} v{contract.version}"
        for contract in readable(contracts.current(session))
        if any(route.to == registered.destination for route in (*contract.routes, *contract.archives))
    ]
    if users:
        raise ConfigError(
            f"{registered.destination} is in use: take its route out of the published {', '.join(users)} first.",
            code="destination_in_use",
        )
    return registered


def _is_old(what: str, change: str, destination: str) -> ConfigError:
    return ConfigError(
        f"{what} has changed since this was planned: it {change}.",
        code="plan_is_old",
        hint=Hint("destinations.show", destination),
    )

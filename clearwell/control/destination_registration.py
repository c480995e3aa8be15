"""Registering a destination: reached before it is stored, so that a deliverer can open what is in the registry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from clearwell.contract.load import newest_contracts
from clearwell.contract.model import CleanSchema, Contract, Field, Type
from clearwell.control.destination_spec import DestinationSpec, split_name
from clearwell.control.platform import Actor, Platform
from clearwell.destinations.protocol import Destination, DestinationContext, Reachable
from clearwell.errors import ClearwellError, ConfigError, Hint
from clearwell.kafka.names import deliverer_group
from clearwell.plugins.kinds import destination_class
from clearwell.plugins.spec import decode, differences
from clearwell.registry import destinations
from clearwell.secret_references import hide, resolve
from clearwell.settings import Settings
from clearwell.steps import bind

Outcome = Literal["registered", "unchanged", "changed"]
_PROBE = "clearwell_probe"


@dataclass(frozen=True, slots=True)
class DestinationRegistration:
    """A destination to be stored. `differences` reads 'config.url: "a" → "b"'."""

    spec: DestinationSpec
    outcome: Outcome
    differences: Sequence[str]


def plan_registration(platform: Platform, spec: DestinationSpec) -> DestinationRegistration:
    """Reach the destination, and say what would change. Blocks.

    The same again changes nothing; a changed configuration replaces the old one, and deliverers take it with their next
    start. Raises ConfigError or Retryable when it can't be reached as it is described.
    """
    _probe(platform.settings, spec, ())
    with platform.looking() as session:
        outcome, changes = _compare(session, spec)
    return DestinationRegistration(spec, outcome, changes)


def register(platform: Platform, actor: Actor, plan: DestinationRegistration) -> None:
    """Store the destination. Raises ConfigError when another has changed it since it was planned."""
    spec = plan.spec
    assert spec.name is not None
    with platform.changing(actor) as session:
        outcome, changes = _compare(session, spec, for_update=True)
        same = (outcome, changes) == (plan.outcome, plan.differences)
        if same and outcome == "registered":
            same = destinations.add(session, spec.kind, spec.name, spec.config)
        elif same and outcome == "changed":
            destinations.change(session, spec.kind, spec.name, spec.config)
        if not same:
            outcome, changes = _compare(session, spec)
            raise ConfigError(
                f"{spec.destination} was {plan.outcome} in the plan, and would be {outcome} now: another has changed "
                f"it meanwhile. {'; '.join(changes)}".rstrip(),
                code="plan_is_old",
                hint=Hint("destinations.list"),
            )


def check_destination(platform: Platform, destination: str) -> Sequence[str]:
    """Reach a registered destination, or the platform's own of a kind. Returns the streams whose routes were opened.

    A route's table is made or widened where that is due, as its deliverer would. Blocks. Raises what
    `Destination.open` raises, references' values hidden.
    """
    spec = _registered(platform, destination)
    return _probe(platform.settings, spec, newest_contracts(platform.settings.schemas))


def _registered(platform: Platform, destination: str) -> DestinationSpec:
    if "." not in destination:
        return DestinationSpec(destination, None, {})
    kind, name = split_name(destination)
    with platform.looking() as session:
        return DestinationSpec(kind, name, destinations.get(session, kind, name).config)


def _compare(session: Session, spec: DestinationSpec, *, for_update: bool = False) -> tuple[Outcome, Sequence[str]]:
    """What storing the specification would do, and the differences to what is stored, a line each."""
    assert spec.name is not None
    registered = destinations.find(session, spec.kind, spec.name, for_update=for_update)
    if registered is None:
        return "registered", []
    changes = differences("config", registered.config, spec.config)
    return ("changed" if changes else "unchanged"), changes


def _probe(settings: Settings, spec: DestinationSpec, contracts: Iterable[Contract]) -> list[str]:
    """Ask the destination as each route to it does, else by a question that changes nothing."""
    resolved, values = resolve(spec.config, who=f"The destination {spec.destination}")
    kind = destination_class(spec.kind)
    config = decode(resolved, kind.Config, f"the destination {spec.destination}", referred=bool(values))
    routes = [(contract, route) for contract in contracts for route in contract.routes if route.to == spec.destination]
    try:
        for contract, route in routes:
            options = decode(dict(route.options), kind.Options, f"the route to {route.to}")
            group = deliverer_group(contract.stream, contract.version, route.to)
            context = DestinationContext(settings, spec.name, config, options, bind(contract).schema, group)
            _ask(kind.of(context), opening=True)
        if not routes:
            probe = DestinationContext(settings, spec.name, config, kind.Options(), _probe_schema(), _PROBE)
            _ask(kind.of(probe), opening=False)
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None
    return [contract.stream for contract, _ in routes]


def _ask(destination: Destination, opening: bool) -> None:
    try:
        if opening:
            destination.open()
        elif isinstance(destination, Reachable):
            destination.reach()
        destination.accounts(_PROBE)
    finally:
        destination.close()


def _probe_schema() -> CleanSchema:
    """What no table is ever made of: a question about positions needs no more."""
    fields = (Field("id", Type.STRING, required=True), Field("at", Type.TIMESTAMP, required=True))
    return CleanSchema(_PROBE, 1, fields, key=("id",), event_id="id", event_time="at")

"""Registering a connector: checked before it is stored, so that what is in the registry can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from sqlalchemy.orm import Session

from clearwell.contract.load import find_file
from clearwell.control import contract_publication
from clearwell.control.clear_text import reveal
from clearwell.control.connector_spec import ConnectorSpec
from clearwell.control.connectors import registered_spec
from clearwell.control.contract_publication import Publication
from clearwell.control.platform import Actor, Platform
from clearwell.control.schemas_publication import files_of, plan_schemas
from clearwell.errors import ClearwellError, ConfigError, Hint
from clearwell.plugins.spec import differences, open_source
from clearwell.registry import connectors, contracts
from clearwell.registry.connectors import Connector
from clearwell.secret_references import hide
from clearwell.source import DiscoveredStream, WithWarnings

Outcome = Literal["registered", "unchanged", "changed"]


@dataclass(frozen=True, slots=True)
class Registration:
    """A connector to be stored and set running. `differences` reads 'config.path: "a" → "b"'.

    `streams`: what the source offers; `warnings`: what it can't promise, a sentence each. `publication`: of the
    contract of its stream, as the schemas folder has it.
    """

    spec: ConnectorSpec
    outcome: Outcome
    differences: Sequence[str]
    streams: Sequence[DiscoveredStream]
    warnings: Sequence[str]
    publication: Publication


def plan_registration(platform: Platform, spec: ConnectorSpec) -> Registration:
    """Check the contract and the source, and say what would change. Blocks.

    What the schemas folder has of its stream's contract is published with it, where it is new. The same again changes
    nothing; a changed configuration replaces the old one and keeps the position. Raises
    ConfigError or Retryable when the source cannot be read, and ConfigError when an existing connector would change its
    source or stream: its position means nothing there.
    """
    publication = _plan_contract(platform, spec.stream)
    streams, warnings = _probe(spec, discover=True)
    with platform.looking() as session:
        outcome, changes = _compare(session, spec)
    return Registration(spec, outcome, changes, streams, warnings, publication)


def register(platform: Platform, actor: Actor, plan: Registration) -> None:
    """Store the connector and set it running. Raises ConfigError when another has changed it since it was planned."""
    spec = plan.spec
    contract_publication.apply(platform, actor, plan.publication)
    with platform.changing(actor) as session:
        outcome, changes = _compare(session, spec)
        same = (outcome, changes) == (plan.outcome, plan.differences)
        if same and outcome == "registered":
            same = connectors.add(session, spec.name, spec.source, spec.stream, spec.config, spec.limits)
        elif same and outcome == "changed":
            connectors.change(session, spec.name, spec.config, changes, spec.limits)
        if not same:
            outcome, changes = _compare(session, spec)
            raise ConfigError(
                f'Connector "{spec.name}" was {plan.outcome} in the plan, and would be {outcome} now: another has '
                f"changed it meanwhile. {'; '.join(changes)}".rstrip(),
                code="plan_is_old",
                hint=Hint("connectors.show", spec.name),
            )


def probe(spec: ConnectorSpec, *, discover: bool = True) -> Sequence[DiscoveredStream]:
    """Open the source, prove that it can be read, and ask what it offers. Values of references never show in errors."""
    return _probe(spec, discover=discover)[0]


def reveal_samples(platform: Platform, actor: Actor, name: str) -> Sequence[DiscoveredStream]:
    """What the source of a registered connector offers, its sample rows in the clear; audited. Raises as `probe`."""
    streams = probe(registered_spec(platform, name))
    return reveal(platform, actor, connectors.target(name), lambda _: streams)


def _plan_contract(platform: Platform, stream: str) -> Publication:
    """What is published is gone by; the files are looked at for what is new in them.

    Raises ConfigError where the stream has no contract, or only a retired one, ContractError where it is wrong.
    """
    schemas = platform.settings.schemas
    plan = plan_schemas(platform, [path for path in files_of(schemas) if path.parent.name == stream])
    with platform.looking() as session:
        is_published = stream in contracts.newest_revisions(session)
        was_published = bool(contracts.revisions(session, stream))
        if is_published or any(planned.changes for planned in plan.contracts):
            return plan
        for planned in plan.refused:
            assert planned.refusal is not None
            raise planned.refusal
        if was_published:
            contracts.get(session, stream)
    try:
        find_file(schemas, stream)
    except ConfigError as error:
        raise ConfigError(str(error), code="no_contract", hint=Hint("connectors.draft_contract", stream)) from None
    return plan


def _probe(spec: ConnectorSpec, *, discover: bool) -> tuple[Sequence[DiscoveredStream], Sequence[str]]:
    """What it offers, and what it can't promise."""
    source, values = open_source(spec.source, spec.config)
    try:
        source.check()
        warnings = source.warnings() if isinstance(source, WithWarnings) else []
        return source.discover() if discover else [], [hide(warning, values) for warning in warnings]
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None


def _compare(session: Session, spec: ConnectorSpec) -> tuple[Outcome, list[str]]:
    """What storing the specification would do, and the differences to what is stored, a line each."""
    known = connectors.find(session, spec.name, for_update=True)
    if known is None:
        return "registered", []
    _require_same_source(known, spec)
    changes = [
        *differences("config", known.config, spec.config),
        *differences("limits", _written(known.limits), _written(spec.limits)),
    ]
    return ("changed" if changes else "unchanged"), changes


def _require_same_source(known: Connector, spec: ConnectorSpec) -> None:
    if (known.source, known.stream) != (spec.source, spec.stream):
        raise ConfigError(
            f'Connector "{known.name}" reads {known.source} into {known.stream}: take another name for '
            f"{spec.source} into {spec.stream}, or remove the old one first.",
            code="connector_is_another",
        )


def _written(limits: connectors.Limits) -> Mapping[str, object]:
    written: dict[str, object] = msgspec.to_builtins(limits)
    return written

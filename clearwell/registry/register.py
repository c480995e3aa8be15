"""Registering a connector: checked before it is stored, so that what is in the registry can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from clearwell.contract.load import find as find_contract
from clearwell.errors import ClearwellError, ConfigError, ContractError
from clearwell.references import hide
from clearwell.registry import connectors
from clearwell.registry.connectors import Connector
from clearwell.registry.database import Registry
from clearwell.registry.spec import ConnectorSpec, open_source
from clearwell.source import DiscoveredStream, WithWarnings


@dataclass(frozen=True, slots=True)
class Registration:
    """What registering did, or with a dry run would do. `differences` reads 'config.path: "a" → "b"'.

    `warnings`: what the source can't promise, a sentence each.
    """

    name: str
    outcome: Literal["registered", "unchanged", "changed"]
    differences: list[str]
    streams: list[DiscoveredStream]
    warnings: list[str] = field(default_factory=list)


def register(registry: Registry, spec: ConnectorSpec, schemas: Path, *, dry_run: bool = False) -> Registration:
    """Check the contract and the source, then store the connector and set it running. Blocks.

    The same again is a no-op; a changed configuration replaces the old one and keeps the position. Raises ConfigError
    or Retryable when the source cannot be read, and ConfigError when an existing connector would change its source or
    stream: its position means nothing there.
    """
    _require_contract(schemas, spec.stream)
    streams, warnings = _probe(spec, discover=True)
    with registry.session() as session:
        known = connectors.find(session, spec.name)
        if known is None:
            if not dry_run:
                connectors.add(session, spec.name, spec.source, spec.stream, spec.config, spec.limits)
            return Registration(spec.name, "registered", [], streams, warnings)
        changes = compare(known, spec)
        if not changes:
            return Registration(spec.name, "unchanged", [], streams, warnings)
        if not dry_run:
            connectors.change(session, spec.name, spec.config, changes, spec.limits)
        return Registration(spec.name, "changed", changes, streams, warnings)


def _require_contract(schemas: Path, stream: str) -> None:
    try:
        find_contract(schemas, stream)
    except ContractError:
        raise
    except ConfigError as error:
        hint = "Draft one: `clearwell connector discover FILE --write-contract`."
        raise ConfigError(f"{error} {hint}") from None


def probe(spec: ConnectorSpec, *, discover: bool = True) -> list[DiscoveredStream]:
    """Open the source, prove that it can be read, and ask what it offers. Values of references never show in errors."""
    return _probe(spec, discover=discover)[0]


def _probe(spec: ConnectorSpec, *, discover: bool) -> tuple[list[DiscoveredStream], list[str]]:
    """What it offers, and what it can't promise."""
    source, values = open_source(spec.source, spec.config)
    try:
        source.check()
        warnings = source.warnings() if isinstance(source, WithWarnings) else []
        return source.discover() if discover else [], [hide(one, values) for one in warnings]
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None


def compare(known: Connector, spec: ConnectorSpec) -> list[str]:
    """The differences between a stored connector and a specification, a line each."""
    if (known.source, known.stream) != (spec.source, spec.stream):
        raise ConfigError(
            f'Connector "{known.name}" reads {known.source} into {known.stream}: take another name for '
            f"{spec.source} into {spec.stream}, or remove the old one first."
        )
    return [
        *differences("config", known.config, spec.config),
        *differences("limits", msgspec.to_builtins(known.limits), msgspec.to_builtins(spec.limits)),
    ]


def differences(place: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, a line a key: 'config.path: "a" → "b"'."""
    return [
        f"{place}.{key}: {_shown(old, key)} → {_shown(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _shown(written: Mapping[str, Any], key: str) -> str:
    return msgspec.json.encode(written[key]).decode() if key in written else "(not set)"

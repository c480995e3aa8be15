"""Registering a store: checked before it is kept, so that a deliverer can open what is in the registry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from clearwell.contract.model import CleanSchema, Contract, Field, Route, Type
from clearwell.destinations.protocol import Destination, Reachable, Target
from clearwell.errors import ClearwellError, ConfigError
from clearwell.kafka.names import deliverer_group
from clearwell.plugins.annotations import absolute_paths, require_references
from clearwell.plugins.kinds import destination_class
from clearwell.plugins.spec import decode, differences
from clearwell.references import hide, resolve
from clearwell.registry import destinations
from clearwell.registry.database import Registry
from clearwell.settings import Settings
from clearwell.steps import bind

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PROBE = "clearwell_probe"


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """A store as a person describes it; `config` holds references, never secrets (invariant 10).

    `name` is None for the platform's own of a kind, which is not registered.
    """

    kind: str
    name: str | None
    config: Mapping[str, Any]

    @property
    def to(self) -> str:
        """As a contract's route names it."""
        return self.kind if self.name is None else f"{self.kind}.{self.name}"


@dataclass(frozen=True, slots=True)
class Addition:
    """What adding did, or with a dry run would do. `differences` reads 'config.url: "a" → "b"'."""

    to: str
    outcome: Literal["added", "unchanged", "changed"]
    differences: Sequence[str]


class _Plain(msgspec.Struct):
    """Names of options that look like secrets and are none, beside the options themselves."""

    plain: list[str] = []


def split(to: str) -> tuple[str, str]:
    """Kind and name of "kind.name". Raises ConfigError when it is none, or the kind can't be registered."""
    kind, _, name = to.partition(".")
    if not destination_class(kind).registered:
        raise ConfigError(f"A destination {kind} is not registered: a route `to: {kind}.<name>` is all it needs.")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"Write KIND.NAME, such as {kind}.warehouse; a name has small letters, digits and _, and begins with a "
            "letter."
        )
    return kind, name


def make_store(to: str, written: Any, where: str, folder: Path) -> StoreSpec:
    """A specification, its paths made absolute from `folder`; references stay references.

    Raises ConfigError with `where`, the place in it and the nearest right spelling, and for secrets in the clear.
    """
    kind, name = split(to)
    if not isinstance(written, dict):
        raise ConfigError(f"{where} holds no options: write KEY: VALUE lines; `clearwell destination spec {kind}`.")
    try:
        json.dumps(written, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(f"{where} holds what JSON can't (binary, a set, .nan): write it as text.") from None
    written = dict(written)
    plain = decode({"plain": written.pop("plain", [])}, _Plain, where).plain
    shape = destination_class(kind).Config
    require_references(shape, written, where, plain)
    return StoreSpec(kind, name, absolute_paths(shape, written, folder))


def add(settings: Settings, registry: Registry, spec: StoreSpec, *, dry_run: bool = False) -> Addition:
    """Reach the store, then keep how. Blocks.

    The same again is a no-op; a changed configuration replaces the old one, and deliverers take it with their next
    start. Raises ConfigError or Retryable when the store can't be reached as it is described.
    """
    assert spec.name is not None
    check(settings, spec, ())
    with registry.session() as session:
        known = destinations.find(session, spec.kind, spec.name)
        if known is None:
            if not dry_run:
                destinations.add(session, spec.kind, spec.name, spec.config)
            return Addition(spec.to, "added", ())
        changes = differences("config", known.config, spec.config)
        if changes and not dry_run:
            destinations.change(session, spec.kind, spec.name, spec.config)
        return Addition(spec.to, "changed" if changes else "unchanged", changes)


def check(settings: Settings, spec: StoreSpec, contracts: Iterable[Contract]) -> list[str]:
    """Reach the store: as each route to it does, else by a question that changes nothing. Returns the streams checked.

    A route's table is made or widened where that is due, as its deliverer would. Raises what `Destination.open` raises,
    references' values hidden.
    """
    resolved, values = resolve(spec.config, who=f"The destination {spec.to}")
    made = destination_class(spec.kind)
    config = decode(resolved, made.Config, f"the destination {spec.to}", referred=bool(values))
    routes = [(one, route) for one in contracts for route in one.routes if route.to == spec.to]
    try:
        for contract, route in routes:
            options = decode(dict(route.options), made.Options, f"the route to {route.to}")
            group = deliverer_group(contract.stream, contract.version, route.to)
            _ask(made.of(Target(settings, spec.name, config, options, bind(contract).schema, group)), opening=True)
        if not routes:
            probe = Target(settings, spec.name, config, made.Options(), _probe_schema(), _PROBE)
            _ask(made.of(probe), opening=False)
    except ClearwellError as error:
        raise type(error)(hide(str(error), values)) from None
    return [contract.stream for contract, _ in routes]


def users_of(contracts: Iterable[Contract], to: str) -> list[tuple[Contract, Route]]:
    """The routes that lead to a store."""
    return [(contract, route) for contract in contracts for route in contract.routes if route.to == to]


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

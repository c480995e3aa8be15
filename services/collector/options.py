"""How a collector process behaves, from its environment.

CLEARWELL_LISTEN          host:port for `POST /push/<connector>`; default 127.0.0.1:8090; port 0 takes a free one
CLEARWELL_METRICS         host:port for `/metrics` and `/healthz`, or "off"; default 127.0.0.1 and any free port
CLEARWELL_LEASE_SECONDS   after so long without a sign of life another collector takes over; default 10
CLEARWELL_SILENT_SECONDS  a source that gives neither events nor heartbeats for so long is stuck; default 60
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from clearwell.errors import ConfigError

LISTEN = "127.0.0.1:8090"
LEASE_SECONDS, SILENT_SECONDS = 10.0, 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """`listen` is host and port, None for no listener."""

    listen: tuple[str, int] | None = None
    lease_seconds: float = LEASE_SECONDS
    silent_seconds: float = SILENT_SECONDS


def load(env: Mapping[str, str] = os.environ) -> Options:
    """The options of this process. Raises ConfigError that names the variable that is wrong."""
    host, _, port = env.get("CLEARWELL_LISTEN", LISTEN).rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError('CLEARWELL_LISTEN must be "host:port", such as 127.0.0.1:8090.')
    return Options(
        (host.strip("[]"), int(port)),
        _seconds(env, "CLEARWELL_LEASE_SECONDS", LEASE_SECONDS),
        _seconds(env, "CLEARWELL_SILENT_SECONDS", SILENT_SECONDS),
    )


def _seconds(env: Mapping[str, str], name: str, usual: float) -> float:
    try:
        seconds = float(env.get(name, usual))
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3_600:
        raise ConfigError(f"{name} must be a number of seconds from 1 to 3600.")
    return seconds

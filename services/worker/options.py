"""How a worker process behaves, from its environment.

CLEARWELL_WORKER         its name, by which people and `clearwell worker drain` call it; default "host:process id"
CLEARWELL_LEASE_SECONDS  after so long without a sign of life another worker takes its jobs over; default 8
CLEARWELL_METRICS        host:port for `/metrics` and `/healthz`, or "off"; default 127.0.0.1 and any free port
CLEARWELL_STREAM         the one stream whose jobs it serves; default all
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from clearwell.errors import ConfigError

LEASE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Options:
    """See the variables above."""

    name: str
    lease_seconds: float = LEASE_SECONDS
    only: str | None = None


def load(env: Mapping[str, str] = os.environ) -> Options:
    """The options of this process. Raises ConfigError that names the variable that is wrong."""
    try:
        seconds = float(env.get("CLEARWELL_LEASE_SECONDS", LEASE_SECONDS))
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3_600:
        raise ConfigError("CLEARWELL_LEASE_SECONDS must be a number of seconds from 1 to 3600.")
    name = env.get("CLEARWELL_WORKER") or f"{socket.gethostname()}:{os.getpid()}"
    return Options(name, seconds, env.get("CLEARWELL_STREAM") or None)

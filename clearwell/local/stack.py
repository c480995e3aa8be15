"""The embedded stack as a whole: what the command line, the demo and tests call."""

from __future__ import annotations

from clearwell.local.ports import Ports, changes
from clearwell.local.start import up
from clearwell.local.state import ports as ports_of
from clearwell.local.status import WELL, kill, restart, status
from clearwell.local.stop import down

__all__ = ["WELL", "Ports", "changes", "down", "kill", "ports_of", "restart", "status", "up"]

"""How each process of a stack is doing, and how to end one on purpose."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from clearwell.errors import ConfigError, Fatal, nearest
from clearwell.local import state
from clearwell.local.servers import SERVER_KINDS
from clearwell.local.state import ProcessState
from clearwell.settings import external, redact

DOWN, EXTERNAL = "down", "external"

WELL = (state.READY, EXTERNAL)
"""States in which there is nothing to do."""

BACK_WITHIN = 120.0
"""Seconds until a process that was ended on purpose must be ready again."""


def status(home: Path) -> list[ProcessState]:
    """Every process in the order of starting, then the named servers; [] when no stack runs and none is named.

    A state is what the supervisor wrote, but "down" where the process (or the supervisor) is not there, and "external"
    where a named server answers.
    """
    home = home.absolute()
    stack = state.read(home)
    processes = [] if stack is None else stack.processes
    if stack is not None and stack.supervisor.process() is None:
        for process in processes:
            process.state, process.last_error = (
                DOWN,
                "the supervisor was killed: run `clearwell up` or `clearwell down`",
            )
    for process in processes:
        if process.state == state.READY and (process.identity is None or process.identity.process() is None):
            process.state = DOWN
    return processes + [_look_at(name, address) for name, address in external().items()]


def _look_at(name: str, address: str) -> ProcessState:
    try:
        SERVER_KINDS[name].check(address)
    except ConfigError as error:
        return ProcessState(name, DOWN, last_error=str(error), endpoint=redact(address))
    except Exception as error:  # a driver's text may hold a password (invariant 10)
        return ProcessState(
            name, DOWN, last_error=f"does not answer ({type(error).__name__})", endpoint=redact(address)
        )
    return ProcessState(name, EXTERNAL, endpoint=redact(address))


def kill(home: Path, name: str, number: int = signal.SIGKILL) -> int:
    """Send signal `number` to one process; the supervisor starts it again. Returns the process id."""
    process = _find(home, name)
    if process.identity is None or process.identity.process() is None:
        raise ConfigError(f"{name} is not running right now (it is {process.state}).")
    os.kill(process.identity.pid, number)
    return process.identity.pid


def restart(home: Path, name: str, number: int = signal.SIGTERM) -> None:
    """End one process and wait until its successor is ready, on the same port. Raises Fatal after BACK_WITHIN."""
    old = kill(home, name, number)
    until = time.monotonic() + BACK_WITHIN
    while time.monotonic() < until:
        now = _find(home, name)
        if now.state == state.READY and now.identity is not None and now.identity.pid != old:
            return
        time.sleep(0.1)
    raise Fatal(f"{name} did not come back within {BACK_WITHIN:.0f} s. Its log: {_find(home, name).log}")


def _find(home: Path, name: str) -> ProcessState:
    stack = state.running(home.absolute())
    if stack is None:
        raise ConfigError(f"No stack is running in {home}: run `clearwell up`.")
    for process in stack.processes:
        if process.name == name:
            return process
    raise ConfigError(f"The stack has no process {name!r}.{nearest(name, [one.name for one in stack.processes])}")

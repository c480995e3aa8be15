"""What the supervisor writes down about itself and its processes, and what of it is still true."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psutil

from clearwell.errors import ConfigError
from clearwell.local.passwords import write_private
from clearwell.local.ports import Ports

STATE_FILE = "state.json"
PLAN_FILE = "plan.json"
LOGS = "logs"

STARTING, READY, RESTARTING, STOPPED, STUCK = "starting", "ready", "restarting", "stopped", "stuck"


class StackPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `up` asks of the supervisor. Written into the data folder; holds no secrets (invariant 10).

    test_commands: let clients inject failures into the MongoDB-wire server (`configureFailPoint`).
    """

    ports: Ports
    services: bool
    schemas: str
    keys: str
    test_commands: bool = False


class Identity(msgspec.Struct, frozen=True):
    """A process that can't be mistaken for another: process ids are used again, with their start times they aren't."""

    pid: int
    created: float

    @staticmethod
    def of(pid: int) -> Identity | None:
        """The identity of the running process `pid`, or None."""
        try:
            return Identity(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The process itself while it runs; None once it has ended or its id is somebody else's."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.01
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class ProcessState(msgspec.Struct):
    """One process of the stack. `since`: seconds since the epoch at which it took on `state`."""

    name: str
    state: str = STOPPED
    identity: Identity | None = None
    restarts: int = 0
    last_error: str = ""
    since: float = 0.0
    endpoint: str = ""
    log: str = ""


class StackState(msgspec.Struct):
    """The whole stack: its supervisor and, in the order of starting, its processes."""

    supervisor: Identity
    processes: list[ProcessState]


def ports(home: Path) -> Ports | None:
    """The ports that the stack of this data folder has, or had; None before its first start."""
    try:
        return msgspec.json.decode((home / PLAN_FILE).read_bytes(), type=StackPlan).ports
    except (FileNotFoundError, msgspec.DecodeError):  # a damaged one is written anew
        return None


def read(home: Path) -> StackState | None:
    """What the supervisor of this data folder wrote last; None when there was none. May be out of date."""
    try:
        return msgspec.json.decode((home / STATE_FILE).read_bytes(), type=StackState)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{home / STATE_FILE} is damaged: remove it.") from error


def running(home: Path) -> StackState | None:
    """The state of the stack when its supervisor runs, else None."""
    state = read(home)
    return state if state is not None and state.supervisor.process() is not None else None


def write(file: Path, content: msgspec.Struct) -> None:
    """Replace `file` by `content` as JSON, readable by its owner alone; readers see the old or the new, never half."""
    write_private(file, msgspec.json.format(msgspec.json.encode(content), indent=1).decode() + "\n")

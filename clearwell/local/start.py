"""`up`: starts the stack of a data folder, or finds the one that runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from clearwell import settings
from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.local import jars, pins, state
from clearwell.local.jars import Progress
from clearwell.local.message import Message
from clearwell.local.ports import Ports, choose
from clearwell.local.prepare import prepare
from clearwell.local.services import contracts, environment, service_names
from clearwell.local.stop import end_orphans
from clearwell.settings import Endpoints

JOIN_WITHIN = 60.0
"""Seconds that `up` waits for what another `up` has started."""

ROOM = 500_000_000
"""Bytes that must be free in the data folder for a start."""


def quiet(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def up(
    home: Path,
    *,
    services: bool = True,
    ports: Ports | None = None,
    schemas: Path | None = None,
    test_commands: bool = False,
    progress: Progress = quiet,
) -> Endpoints:
    """Start the stack of the data folder `home`, or find the running one; returns when every server answers.

    services: our own services too. schemas: the folder of contracts, as in `settings`. test_commands: see `state.Plan`.
    Raises ConfigError for what the user can mend (a port in use, a folder that can't be written, a wrong contract),
    Retryable for what may pass (the network, a named server that is away), Fatal when a server does not start.
    """
    home = home.absolute()
    _make_folder(home)
    plan = state.Plan(
        ports=ports or Ports(),
        services=services,
        schemas=str((schemas or settings.schemas_folder()).absolute()),
        keys=str(settings.key_file(os.environ | {"CLEARWELL_HOME": str(home)})),
        test_commands=test_commands,
    )
    with _locked(home):
        if state.running(home) is not None:
            return _join(home, plan, progress)
        return _start(home, plan, progress)


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / state.LOGS).mkdir(exist_ok=True)
        (home / "up.lock").touch()
        free = shutil.disk_usage(home).free
    except OSError as error:
        raise ConfigError(
            f"The data folder {home} can't be written ({error.strerror}): choose another one with --home."
        ) from error
    if free < ROOM:
        raise ConfigError(
            f"The disk of {home} is full: {free // 1_000_000} MB free, {ROOM // 1_000_000} MB needed. "
            "Make room, or choose another folder with --home."
        )


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One `up` of a data folder at a time."""
    with (home / "up.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _start(home: Path, plan: state.Plan, progress: Progress) -> Endpoints:
    end_orphans(home)
    external = settings.external()
    if plan.services:
        contracts(Path(plan.schemas))
    if "kafka" not in external:
        jars.fetch(pins.load(), progress)
    plan = msgspec.structs.replace(plan, ports=choose(plan.ports))
    state.write(home / state.PLAN_FILE, plan)
    supervisor = _spawn(home, plan)
    try:
        _follow(supervisor, home, progress)
    except BaseException:  # also Ctrl-C: a start that was broken off leaves nothing behind
        supervisor.terminate()
        supervisor.wait()
        raise
    return _endpoints(home)


def _spawn(home: Path, plan: state.Plan) -> subprocess.Popen[bytes]:
    with (home / state.LOGS / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "clearwell.local.supervisor", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | dict(environment(home, plan)),
            cwd=home,
            start_new_session=True,
        )


def _follow(supervisor: subprocess.Popen[bytes], home: Path, progress: Progress) -> None:
    """Read what the supervisor says until it is ready."""
    if supervisor.stdout is None:
        raise Fatal("The supervisor has no standard output.")
    with supervisor.stdout as lines:
        for line in lines:
            message = msgspec.json.decode(line, type=Message)
            if message.ready:
                return
            if message.error:
                raise _error(message)
            progress(message.what, message.done, message.total)
    raise Fatal(f"The supervisor ended while starting. Its log: {home / state.LOGS / 'supervisor.log'}")


def _error(message: Message) -> Exception:
    known = {one.exit_code: one for one in (ConfigError, Retryable, Fatal)}
    return known.get(message.exit_code, Fatal)(message.error)


def _join(home: Path, plan: state.Plan, progress: Progress) -> Endpoints:
    """The stack runs already: start the services that it lacks, and wait until everything is ready."""
    old = msgspec.json.decode((home / state.PLAN_FILE).read_bytes(), type=state.Plan)
    for name, port in msgspec.structs.asdict(plan.ports).items():
        if port is not None and port != getattr(old.ports, name):
            raise ConfigError(
                f"A stack runs in {home} already, with {name} on port {getattr(old.ports, name)}: "
                "run `clearwell down` first, or leave the port out."
            )
    wanted = {state.KAFKA, state.POSTGRES, state.MONGO} - settings.external().keys()
    if plan.services:
        wanted |= _add_services(home, msgspec.structs.replace(plan, ports=old.ports, test_commands=old.test_commands))
    _await_ready(home, wanted, progress)
    return _endpoints(home)


def _add_services(home: Path, plan: state.Plan) -> set[str]:
    names = service_names(contracts(Path(plan.schemas)))
    running = state.running(home)
    if running is not None and names - {one.name for one in running.processes}:
        prepare(settings.load(os.environ | dict(environment(home, plan))))
        state.write(home / state.PLAN_FILE, plan)
        os.kill(running.supervisor.pid, signal.SIGHUP)
    return names


def _await_ready(home: Path, wanted: set[str], progress: Progress) -> None:
    """Poll the supervisor's state until each of `wanted` is ready. Raises Retryable after a minute."""
    until = time.monotonic() + JOIN_WITHIN
    missing = wanted
    while time.monotonic() < until:
        found = state.running(home)
        if found is None:
            raise Fatal(f"The supervisor ended meanwhile. Its log: {home / state.LOGS / 'supervisor.log'}")
        missing = wanted - {one.name for one in found.processes if one.state == state.READY}
        if not missing:
            return
        progress("starting", len(wanted) - len(missing), len(wanted))
        time.sleep(0.1)
    raise Retryable(f"Not ready: {', '.join(sorted(missing))}. Look at `clearwell status`.")


def _endpoints(home: Path) -> Endpoints:
    """The addresses that this process would use: named servers first, then the embedded ones."""
    found = settings.load(os.environ | {"CLEARWELL_HOME": str(home)})
    return Endpoints(kafka=found.kafka, postgres=found.postgres, mongo=found.mongo)

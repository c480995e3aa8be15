"""`up`: starts the stack of a data folder, or finds the one that runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from clearwell import settings
from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.local import jars, pins, state
from clearwell.local.environment import for_services
from clearwell.local.jars import Progress
from clearwell.local.logs import append, roll
from clearwell.local.message import StackMessage
from clearwell.local.ports import Ports, choose
from clearwell.local.prepare import prepare
from clearwell.local.servers import require_parts
from clearwell.local.services import environment, service_names
from clearwell.local.stop import end_orphans
from clearwell.settings import Endpoints, external

JOIN_WITHIN = 120.0
"""Seconds that `up` waits for services to be ready, and for what another `up` has started."""

GIVE_UP_AFTER = 3
"""Restarts after which `up` waits no longer for a process that is not ready."""

GIVEN_AWAY = ("postgres", "postgres.new")
"""In a data folder of root's, the folders of a user that PostgreSQL runs as."""

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
    require_parts(external())
    _make_folder(home)
    plan = state.StackPlan(
        ports=ports or Ports(),
        services=services,
        schemas=str((schemas or settings.schemas_folder()).absolute()),
        keys=str(settings.key_file(os.environ | {"CLEARWELL_HOME": str(home)})),
        test_commands=test_commands,
    )
    with _locked(home):
        joined = state.running(home) is not None
        if joined:
            _join(home, plan)
        else:
            _start(home, plan, progress)
        _await_ready(home, plan.services, progress)
        if joined and plan.services:
            _bring_up_to_date(home)
        return _endpoints(home)


def _make_folder(home: Path) -> None:
    check_folder(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private(home)  # again: what was made or changed meanwhile is judged before anything is put into it
        (home / state.LOGS).mkdir(mode=0o700, exist_ok=True)
        (home / state.LOGS).chmod(0o700)
        (home / "up.lock").touch(mode=0o600)
    except OSError as error:
        raise ConfigError(
            f"The data folder {home} can't be written ({error.strerror}): choose another one with --home."
        ) from error


def check_folder(home: Path) -> None:
    """Raises ConfigError where `home` can be no data folder. It need not be there yet."""
    if "," in str(home):
        raise ConfigError(f"The path of the data folder, {home}, holds a comma, which Kafka takes for two: use --home.")
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"The data folder {home} can't be written: choose another one with --home.")
    if home.exists():
        require_private(home)
    free = shutil.disk_usage(there).free
    if free < ROOM:
        raise ConfigError(
            f"The disk of {home} is full: {free // 1_000_000} MB free, {ROOM // 1_000_000} MB needed. "
            "Make room, or choose another folder with --home."
        )


def require_private(home: Path) -> None:
    """Raises ConfigError where other users of the machine may look into the data folder, or have put something there.

    It holds events, keys and passwords. A link to it is followed where it is ours; the same goes for what is in it.
    """
    me = os.geteuid()
    folder, link = home.stat(), home.lstat()
    if folder.st_uid != me or link.st_uid != me:
        raise ConfigError(f"The data folder {home} belongs to another user: choose one of your own with --home.")
    if folder.st_mode & 0o077:
        raise ConfigError(
            f"Other users may enter the data folder {home}, which will hold events, keys and passwords: run "
            f"`chmod 700 {home}`, or choose another one with --home."
        )
    for path in (*home.iterdir(), *_inside(home / state.LOGS)):
        if path.lstat().st_uid != me and path.name not in GIVEN_AWAY:
            raise ConfigError(f"{path} belongs to another user, who may have put it there: look at it, and remove it.")


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One `up` of a data folder at a time."""
    with (home / "up.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _start(home: Path, plan: state.StackPlan, progress: Progress) -> None:
    end_orphans(home)
    if "kafka" not in external():
        jars.fetch(pins.load(), progress)
    plan = msgspec.structs.replace(plan, ports=choose(plan.ports, state.ports(home)))
    state.write(home / state.PLAN_FILE, plan)
    group, lines = _spawn(home, plan)
    with lines:
        try:
            _follow(lines, home, progress)
        except BaseException:  # also Ctrl-C: a start that was broken off leaves nothing behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
            lines.read()  # its end is the end of the supervisor
            raise


def _spawn(home: Path, plan: state.StackPlan) -> tuple[int, IO[bytes]]:
    """Start the supervisor; returns its process group and its standard output. It detaches itself from this process."""
    log_file = home / state.LOGS / "supervisor.log"
    roll(log_file)
    with append(log_file) as log:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "clearwell.local.supervisor", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=for_services() | dict(environment(home, plan)),
            cwd=home,
            start_new_session=True,
        )
    if launcher.stdout is None:
        raise Fatal("The supervisor has no standard output.")
    launcher.wait()
    return launcher.pid, launcher.stdout


def _follow(lines: IO[bytes], home: Path, progress: Progress) -> None:
    """Read what the supervisor says until it is ready."""
    for line in lines:
        message = msgspec.json.decode(line, type=StackMessage)
        if message.ready:
            return
        if message.error:
            raise _error(message)
        progress(message.what, message.done, message.total)
    raise Fatal(f"The supervisor ended while starting. Its log: {home / state.LOGS / 'supervisor.log'}")


def _error(message: StackMessage) -> Exception:
    known = {error_type.exit_code: error_type for error_type in (ConfigError, Retryable, Fatal)}
    return known.get(message.exit_code, Fatal)(message.error)


def running_plan(home: Path, requested: Ports) -> state.StackPlan:
    """What the running stack was asked for. Raises ConfigError when its ports are others than the `requested` ones."""
    old = msgspec.json.decode((home / state.PLAN_FILE).read_bytes(), type=state.StackPlan)
    for name, port in msgspec.structs.asdict(requested).items():
        if port is not None and port != getattr(old.ports, name):
            raise ConfigError(
                f"A stack runs in {home} already, with {name} on port {getattr(old.ports, name)}: "
                "run `clearwell down` first, or leave the port out."
            )
    return old


def _join(home: Path, plan: state.StackPlan) -> None:
    """The stack runs already: have its supervisor start the services that it lacks."""
    old = running_plan(home, plan.ports)
    running = state.running(home)
    if running is None or not plan.services:
        return
    names = set(service_names())
    if names - {process.name for process in running.processes}:
        plan = msgspec.structs.replace(plan, ports=old.ports, test_commands=old.test_commands)
        prepare(settings.load(os.environ | dict(environment(home, plan))))
        state.write(home / state.PLAN_FILE, plan)
        os.kill(running.supervisor.pid, signal.SIGHUP)
        _await(home, lambda found: names <= {process.name for process in found.processes})


def _bring_up_to_date(home: Path) -> None:
    """What runs may have been started by an older version, whose registry lacks what this one asks for."""
    prepare(settings.load(os.environ | dict(environment(home, running_plan(home, Ports())))))


def _await_ready(home: Path, with_services: bool, progress: Progress) -> None:
    """Wait until all that was asked for is ready. Raises Fatal for what keeps ending, Retryable after JOIN_WITHIN."""

    def all_ready(found: state.StackState) -> bool:
        wanted = [process for process in found.processes if with_services or process.name in settings.SERVERS]
        for one in wanted:
            if one.state != state.READY and one.restarts >= GIVE_UP_AFTER:
                why = one.last_error.rstrip(".")
                raise Fatal(
                    f"{one.name} does not start: {why}. The rest runs on and it is tried further: "
                    "`clearwell status` shows how it goes, `clearwell down` ends everything."
                )
        ready = sum(one.state == state.READY for one in wanted)
        if ready < len(wanted):
            progress("starting", ready, len(wanted))
        return ready == len(wanted)

    _await(home, all_ready)


def _await(home: Path, condition: Callable[[state.StackState], bool]) -> None:
    """Look at what the supervisor writes until `condition` holds. Raises Retryable after JOIN_WITHIN."""
    until = time.monotonic() + JOIN_WITHIN
    while time.monotonic() < until:
        running = state.running(home)
        if running is None:
            raise Fatal(f"The supervisor ended meanwhile. Its log: {home / state.LOGS / 'supervisor.log'}")
        if condition(running):
            return
        time.sleep(0.1)
    raise Retryable("Some processes are not ready yet: `clearwell status` shows which.")


def _endpoints(home: Path) -> Endpoints:
    """The addresses that this process would use: named servers first, then the embedded ones."""
    resolved = settings.load(os.environ | {"CLEARWELL_HOME": str(home)})
    return Endpoints(kafka=resolved.kafka, postgres=resolved.postgres, mongo=resolved.mongo)

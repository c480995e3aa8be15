"""`down`: ends the stack of a data folder; also what a killed supervisor left behind."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import psutil

from clearwell.errors import ConfigError
from clearwell.local import state
from clearwell.settings import ENDPOINTS_FILE

STOP_WITHIN = 60.0
"""Seconds that the supervisor may take to end everything; longer than its own limits together."""

ORPHANS_END_WITHIN = 10.0
"""Seconds that the processes of a killed supervisor may take to end: the kernel has told them to already."""


def down(home: Path, wipe: bool = False) -> bool:
    """End everything that runs for `home`; returns whether something ran. `wipe`: delete the data folder too.

    Raises ConfigError when the folder to wipe is not a data folder of Clearwell's, or can't be deleted.
    """
    home = home.absolute()
    if wipe:
        require_data_folder(home)
    ran = end_supervisor(home)
    ran = end_orphans(home) or ran
    if wipe and home.exists():
        try:
            shutil.rmtree(home)
        except OSError as error:
            raise ConfigError(f"{error.filename} can't be deleted: {error.strerror}.") from error
    return ran


def end_supervisor(home: Path) -> bool:
    """Ask the supervisor to end everything, and wait; returns whether there was one."""
    running = state.running(home)
    process = running.supervisor.process() if running is not None else None
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except psutil.TimeoutExpired:
            process.kill()
    return True


def end_orphans(home: Path) -> bool:
    """End what a killed supervisor has left, told by process id and start time; returns whether there was any."""
    left = state.read(home)
    if left is None or left.supervisor.process() is not None:
        return False
    orphans = [orphan for process in left.processes if process.identity and (orphan := process.identity.process())]
    deadline = time.monotonic() + ORPHANS_END_WITHIN
    _, alive = psutil.wait_procs(orphans, timeout=max(0.0, deadline - time.monotonic()))
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    for name in (state.STATE_FILE, ENDPOINTS_FILE):
        (home / name).unlink(missing_ok=True)
    return bool(orphans)


def require_data_folder(home: Path) -> None:
    """Never delete a folder that merely happens to be named. Raises ConfigError."""
    if home.exists() and any(home.iterdir()) and not (home / "up.lock").exists():
        raise ConfigError(f"{home} is not a data folder of Clearwell's (it has no up.lock): nothing was deleted.")

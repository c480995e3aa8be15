"""What `up` and `down` would do, for `--dry-run`: nothing here changes anything.

Each raises what the real one would raise before it begins.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from clearwell import settings
from clearwell.local import jars, pins, state
from clearwell.local.ports import Ports, choose
from clearwell.local.prepare import lacks_keys
from clearwell.local.servers import check_external, require_parts
from clearwell.local.services import service_names
from clearwell.local.start import check_folder, running_plan
from clearwell.local.stop import require_data_folder
from clearwell.settings import external, redact


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What `up` would do.

    running: whether a stack runs, which it would join. start: names of processes. use: named servers and their
    addresses, without passwords. create: files and folders. download_bytes: of Kafka's jars.
    """

    running: bool
    start: list[str]
    use: dict[str, str]
    create: list[str]
    download_bytes: int


def plan_up(home: Path, services: bool, ports: Ports) -> StartPlan:
    """What `up` would do with the same arguments."""
    named = external()
    require_parts(named)
    check_folder(home)
    keys = settings.key_file(os.environ | {"CLEARWELL_HOME": str(home)})
    names = service_names() if services else []
    running = state.running(home)
    create: list[str] = []
    download = 0
    if running is not None:
        running_plan(home, ports)
        there = {process.name for process in running.processes}
    else:
        choose(ports, state.ports(home))
        check_external(named)
        there = set()
        names = [name for name in settings.SERVERS if name not in named] + names
        create += [] if home.exists() else [str(home)]
        download = 0 if "kafka" in named else _missing_jars()
    start = [name for name in names if name not in there]
    if services and start and lacks_keys(home, keys):
        create.append(str(keys))
    return StartPlan(running is not None, start, {name: redact(url) for name, url in named.items()}, create, download)


def _missing_jars() -> int:
    folder = jars.cache_folder() / "jars"
    return sum(jar.size for jar in pins.load().jars if not (folder / jar.file_name).exists())


@dataclass(frozen=True, slots=True)
class StopPlan:
    """What `down` would end, in its order, and the folder it would delete."""

    stop: list[str]
    delete: list[str]


def plan_down(home: Path, wipe: bool) -> StopPlan:
    """What `down` would do with the same arguments."""
    if wipe:
        require_data_folder(home)
    stack_state = state.read(home)
    alive = (
        [process for process in stack_state.processes if process.identity and process.identity.process()]
        if stack_state is not None
        else []
    )
    ours = [running_process.name for running_process in alive if running_process.name not in settings.SERVERS]
    servers = [running_process.name for running_process in alive if running_process.name in settings.SERVERS]
    supervisor = ["supervisor"] if stack_state is not None and stack_state.supervisor.process() is not None else []
    return StopPlan(ours + servers + supervisor, [str(home)] if wipe and home.exists() else [])

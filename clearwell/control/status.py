"""How the processes of a stack are doing, what services say of themselves, and what was lost before they read it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from clearwell import settings
from clearwell.control.platform import Platform
from clearwell.errors import ClearwellError
from clearwell.local import stack
from clearwell.local.state import ProcessState
from clearwell.registry import deliveries, losses
from clearwell.registry.jobs import JobState

_OURS = ("archive", "cleaner.", "dead_letters.", "deliverer.")
"""How the names of groups begin."""


class ServiceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `state` and `last_error` are what a deliverer says, None for the others.

    `lost`: offsets that retention removed before the service had read them, since its stream is there.
    """

    state: JobState | None = None
    last_error: str | None = None
    lost: int = 0

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to look at it."""
        return self.state not in (JobState.RETRYING, JobState.FAILING)


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process, or a named server: its `state` for so many `seconds`, since a Unix time, its log and endpoint.

    `health` and `delivery_error` are what a deliverer says; `lost` as in `ServiceHealth`.
    """

    name: str
    state: str
    pid: int | None
    endpoint: str
    since: float
    seconds: int
    restarts: int
    log: str
    last_error: str
    lost: int
    health: JobState | None = None
    delivery_error: str | None = None


class StackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A stack. `ready`: there is one, all of it is ready, and each deliverer reaches its destination."""

    home: str
    ready: bool
    processes: Sequence[ProcessStatus]


def show_status(home: Path) -> StackStatus:
    """Every process of the stack in the data folder `home`, then the named servers. Blocks.

    Where the registry can't be asked nothing is said of services: the processes tell why.
    """
    processes = stack.status(home)
    health = _try_health([process.name for process in processes])
    well = all(process.state in stack.WELL for process in processes)
    return StackStatus(
        home=str(home),
        ready=bool(processes) and well and all(service.is_well for service in health.values()),
        processes=[_process_status(process, health.get(process.name, ServiceHealth())) for process in processes],
    )


def show_health(platform: Platform, groups: Collection[str]) -> Mapping[str, ServiceHealth]:
    """What is known of these services, by consumer group. Raises as `Platform.looking`."""
    ours = [group for group in groups if group.startswith(_OURS)]
    if not ours:
        return {}
    with platform.looking() as session:
        known = {registered.delivery.group: registered for registered in deliveries.list_deliveries(session)}
        lost = losses.totals(session)
    return {
        group: ServiceHealth(
            state=known[group].state if group in known else None,
            last_error=known[group].health.last_error if group in known else None,
            lost=lost.get(group, 0),
        )
        for group in ours
    }


def _try_health(groups: Collection[str]) -> Mapping[str, ServiceHealth]:
    try:
        with Platform(settings.load()) as platform:
            return show_health(platform, groups)
    except ClearwellError:
        return {}


def _process_status(process: ProcessState, service: ServiceHealth) -> ProcessStatus:
    return ProcessStatus(
        name=process.name,
        state=process.state,
        pid=None if process.identity is None else process.identity.pid,
        endpoint=process.endpoint,
        since=process.since,
        seconds=int(time.time() - process.since) if process.since else 0,
        restarts=process.restarts,
        log=process.log,
        last_error=process.last_error,
        lost=service.lost,
        health=service.state,
        delivery_error=service.last_error,
    )

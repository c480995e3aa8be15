"""Workers and collectors as people and programs see them, and taking what they run away from them before a restart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy.orm import Session

from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry import processes
from clearwell.registry.locks import lock
from clearwell.registry.processes import RegisteredProcess


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, which runs jobs, or a collector, which runs connectors (`kind`).

    `state`: running; draining: it gives away what it has; drained: it has given all away; gone: it ended without a
    word, or is cut off. `held`: jobs or connectors. `busy`: the part of one core that its work took in the last minute.
    """

    name: str
    kind: str
    state: str
    held: int
    busy: float
    rss_mb: float
    since: datetime
    seen_at: datetime
    endpoint: str


@dataclass(frozen=True, slots=True)
class DrainChange:
    """A worker or collector drained, or not any more. `held`: what it has; `others`: how many can take it over."""

    name: str
    id: str
    kind: str
    before: bool
    draining: bool
    held: int
    others: int


def list_workers(platform: Platform) -> list[WorkerStatus]:
    """All workers and collectors, by kind and name."""
    with platform.looking() as session:
        return [_status(process) for process in processes.list_processes(session)]


def plan_drain(platform: Platform, name: str) -> DrainChange:
    """Have a worker or collector give away what it has, and take nothing more. Raises ConfigError when there is none.

    As long as no other can take it, it goes on with what it has.
    """
    return _plan(platform, name, True)


def plan_undo(platform: Platform, name: str) -> DrainChange:
    """Have one that is drained take its share again. Raises ConfigError when there is none."""
    return _plan(platform, name, False)


def apply(platform: Platform, actor: Actor, plan: DrainChange) -> None:
    """Carry a plan out. Raises ConfigError when it is gone, or (code "plan_is_old") was drained meanwhile."""
    with platform.changing(actor) as session:
        lock(session, processes.target(plan.name))
        now = _get(session, plan.name)
        if (now.id, now.is_draining) != (plan.id, plan.before):
            raise ConfigError(
                f'"{plan.name}" has changed since this was planned: it was started anew, or another has drained it.',
                code="plan_is_old",
                hint=Hint("workers.list"),
            )
        if plan.before != plan.draining:
            processes.set_draining(session, [plan.id], plan.draining, plan.name)


def _plan(platform: Platform, name: str, draining: bool) -> DrainChange:
    with platform.looking() as session:
        process = _get(session, name)
        others = [
            other
            for other in processes.list_processes(session)
            if (other.kind, other.scope) == (process.kind, process.scope)
            and other.id != process.id
            and not other.is_draining
            and not other.is_gone
        ]
    return DrainChange(name, process.id, process.kind, process.is_draining, draining, process.held, len(others))


def _get(session: Session, name: str) -> RegisteredProcess:
    known = {process.name: process for process in processes.list_processes(session) if not process.is_gone}
    if name not in known:
        raise ConfigError(
            f'No worker or collector "{name}" is running.{nearest(name, known)}',
            code="no_such_worker",
            hint=Hint("workers.list"),
        )
    return known[name]


def _status(process: RegisteredProcess) -> WorkerStatus:
    return WorkerStatus(
        name=process.name,
        kind=process.kind,
        state=_state(process),
        held=process.held,
        busy=round(process.busy, 3),
        rss_mb=round(process.rss_mb, 1),
        since=process.started_at,
        seen_at=process.seen_at,
        endpoint=process.endpoint,
    )


def _state(process: RegisteredProcess) -> str:
    if process.is_gone:
        return "gone"
    if process.is_draining:
        return "draining" if process.held else "drained"
    return "running"

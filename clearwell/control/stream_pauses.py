"""A stream paused and resumed as a whole: its connectors read no more, its jobs stop, all positions stay.

What a pause stops stands in its audit, and a resume brings back that alone: what a person had paused before stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from clearwell.control.platform import Actor, Platform
from clearwell.control.stream_parts import find_stream
from clearwell.errors import ConfigError, Hint
from clearwell.registry import audit, connectors, jobs
from clearwell.registry.connectors import State as ConnectorState
from clearwell.registry.jobs import WantedState
from clearwell.registry.locks import lock

_ENTRIES = 1_000
"""Of a stream's audit, in which its last pauses are looked for."""


@dataclass(frozen=True, slots=True)
class StreamPause:
    """`jobs` and `connectors` to be paused, or to go on as `paused` says. `others`: those that stay paused then.

    A connector that has finished, or that someone must mend, is left as it is.
    """

    stream: str
    paused: bool
    jobs: Sequence[str]
    connectors: Sequence[str]
    others: Sequence[str] = ()

    @property
    def action(self) -> str:
        """As the audit calls it."""
        return "pause" if self.paused else "resume"


def plan_pause(platform: Platform, stream: str) -> StreamPause:
    """Stop everything of a stream that runs. Raises ConfigError (code "no_such_stream") when there is none."""
    find_stream(platform, stream)
    with platform.looking() as session:
        return _pause(session, stream)


def plan_resume(platform: Platform, stream: str) -> StreamPause:
    """Have go on what pauses of the stream have stopped since it was last resumed. Raises as `plan_pause`."""
    find_stream(platform, stream)
    with platform.looking() as session:
        return _resume(session, stream)


def apply(platform: Platform, actor: Actor, plan: StreamPause) -> None:
    """Carry a plan out. Raises ConfigError (code "plan_is_old") when other parts are paused than when it was made."""
    with platform.changing(actor) as session:
        lock(session, target(plan.stream))
        now = _pause(session, plan.stream) if plan.paused else _resume(session, plan.stream)
        if (now.jobs, now.connectors) != (plan.jobs, plan.connectors):
            raise ConfigError(
                f'Other parts of the stream "{plan.stream}" run than when this was planned. Plan again.',
                code="plan_is_old",
                hint=Hint("streams.show", plan.stream),
            )
        if not plan.jobs and not plan.connectors:
            return
        for name in plan.connectors:
            reads = ConnectorState.PAUSED if plan.paused else ConnectorState.RUNNING
            connectors.set_state(session, name, reads, plan.action)
        state = WantedState.PAUSED if plan.paused else WantedState.RUNNING
        more = {"connectors": list(plan.connectors)}
        jobs.set_wanted(session, plan.jobs, state, plan.action, target(plan.stream), more)


def is_paused(session: Session, stream: str) -> bool:
    """Whether the stream has jobs, and every one of them is paused."""
    states = {job.wanted for job in jobs.list_jobs(session, stream)} - {WantedState.ENDED}
    return states == {WantedState.PAUSED}


def keep_paused(session: Session, stream: str) -> None:
    """What was added to a stream that is paused is paused with it, and goes on with it."""
    added = _pause(session, stream).jobs
    if added:
        jobs.set_wanted(session, added, WantedState.PAUSED, "pause", target(stream), {"connectors": []})


def target(stream: str) -> str:
    """What the audit calls a stream."""
    return f"stream/{stream}"


def _pause(session: Session, stream: str) -> StreamPause:
    running = [job.spec.name for job in jobs.list_jobs(session, stream) if job.wanted is WantedState.RUNNING]
    reading = [
        connector.name
        for connector in connectors.list_connectors(session)
        if connector.stream == stream and connector.state is ConnectorState.RUNNING
    ]
    return StreamPause(stream, True, running, reading)


def _resume(session: Session, stream: str) -> StreamPause:
    stopped_jobs: set[str] = set()
    stopped_connectors: set[str] = set()
    for entry in audit.entries(session, target(stream), _ENTRIES):
        if entry.action == "resume":
            break
        if entry.action == "pause":
            stopped_jobs |= set(entry.detail["jobs"])
            stopped_connectors |= set(entry.detail["connectors"])
    paused_jobs = [job.spec.name for job in jobs.list_jobs(session, stream) if job.wanted is WantedState.PAUSED]
    paused_connectors = [
        connector.name
        for connector in connectors.list_connectors(session)
        if connector.stream == stream and connector.state is ConnectorState.PAUSED
    ]
    return StreamPause(
        stream,
        False,
        [name for name in paused_jobs if name in stopped_jobs],
        [name for name in paused_connectors if name in stopped_connectors],
        [
            *(name for name in paused_jobs if name not in stopped_jobs),
            *(name for name in paused_connectors if name not in stopped_connectors),
        ],
    )

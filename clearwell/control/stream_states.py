"""How a stream is doing: the worst of what its jobs and connectors say, in one word."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from clearwell.registry.connectors import State as ConnectorState
from clearwell.registry.jobs import JobState


class StreamState(StrEnum):
    """The worst first; what is below `STARTING` needs nobody.

    failing: a job or connector that someone must mend. not cleaned: no contract of it is published, so no job takes
    its events. no worker, no collector: nobody has its jobs, or its connectors. retrying: something is away, or failed,
    and is tried again. partly paused: a person wants some of it not to run. paused: all of it.
    """

    FAILING = "failing"
    NOT_CLEANED = "not cleaned"
    NO_WORKER = "no worker"
    NO_COLLECTOR = "no collector"
    RETRYING = "retrying"
    STARTING = "starting"
    PARTLY_PAUSED = "partly paused"
    PAUSED = "paused"
    RUNNING = "running"
    IDLE = "idle"

    @property
    def is_well(self) -> bool:
        """Whether nobody needs to look at it."""
        return self in (self.PARTLY_PAUSED, self.PAUSED, self.RUNNING, self.IDLE)


_OF_JOBS = {
    JobState.FAILING: StreamState.FAILING,
    JobState.WAITING: StreamState.NO_WORKER,
    JobState.RETRYING: StreamState.RETRYING,
    JobState.STARTING: StreamState.STARTING,
    JobState.PAUSED: StreamState.PAUSED,
    JobState.RUNNING: StreamState.RUNNING,
    JobState.IDLE: StreamState.IDLE,
}
_OF_CONNECTORS = {
    ConnectorState.FAILING: StreamState.FAILING,
    ConnectorState.PAUSED: StreamState.PAUSED,
}


def of_job(state: JobState) -> StreamState | None:
    """What a job's state means for its stream; None for one that has ended."""
    return _OF_JOBS.get(state)


def of_connector(state: ConnectorState, *, has_collector: bool, is_retrying: bool) -> StreamState | None:
    """What a connector means for its stream; None for one that has finished.

    One that runs is no more than idle: whether there are events, the jobs tell.
    """
    if state is not ConnectorState.RUNNING:
        return _OF_CONNECTORS.get(state)
    if is_retrying:
        return StreamState.RETRYING
    return StreamState.IDLE if has_collector else StreamState.NO_COLLECTOR


def worst(jobs: Collection[StreamState], connectors: Collection[StreamState]) -> StreamState:
    """The state of a stream with these jobs and connectors."""
    states = {*jobs, *connectors}
    if not jobs:
        states.add(StreamState.NOT_CLEANED)
    if StreamState.PAUSED in states and states & {StreamState.RUNNING, StreamState.IDLE}:
        states.add(StreamState.PARTLY_PAUSED)
    return min(states, key=list(StreamState).index)

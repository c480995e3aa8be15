"""The state of a stream: the worst of its jobs and connectors."""

from __future__ import annotations

import pytest

from clearwell.control.stream_states import StreamState, of_connector, of_job, worst
from clearwell.registry.connectors import State as ConnectorState
from clearwell.registry.jobs import JobState

S = StreamState


@pytest.mark.parametrize(
    ("jobs", "connectors", "state"),
    [
        ([S.IDLE, S.IDLE], [], S.IDLE),
        ([S.IDLE, S.RUNNING], [S.IDLE], S.RUNNING),
        ([S.RUNNING, S.STARTING], [], S.STARTING),
        ([S.RUNNING, S.RETRYING], [S.IDLE], S.RETRYING),
        ([S.RUNNING, S.NO_WORKER, S.RETRYING], [], S.NO_WORKER),
        ([S.RUNNING, S.FAILING, S.NO_WORKER], [], S.FAILING),
        ([S.RUNNING], [S.NO_COLLECTOR], S.NO_COLLECTOR),
        ([S.RUNNING], [S.FAILING], S.FAILING),
        ([S.PAUSED, S.PAUSED], [S.PAUSED], S.PAUSED),
        ([S.PAUSED], [S.IDLE], S.PARTLY_PAUSED),
        ([S.PAUSED, S.RUNNING], [], S.PARTLY_PAUSED),
        ([S.PAUSED, S.RETRYING], [], S.RETRYING),
        ([], [S.IDLE], S.NOT_CLEANED),
        ([], [S.FAILING], S.FAILING),
    ],
)
def test_the_worst_of_all(jobs: list[S], connectors: list[S], state: S) -> None:
    assert worst(jobs, connectors) is state


def test_every_state_of_a_job_means_something_but_its_end() -> None:
    assert [state for state in JobState if of_job(state) is None] == [JobState.ENDED]


def test_a_connector_needs_a_collector_only_while_it_is_to_run() -> None:
    def means(state: ConnectorState, has_collector: bool, is_retrying: bool = False) -> S | None:
        return of_connector(state, has_collector=has_collector, is_retrying=is_retrying)

    assert means(ConnectorState.RUNNING, False) is S.NO_COLLECTOR
    assert means(ConnectorState.RUNNING, True) is S.IDLE
    assert means(ConnectorState.RUNNING, True, is_retrying=True) is S.RETRYING
    assert means(ConnectorState.PAUSED, False) is S.PAUSED
    assert means(ConnectorState.FAILING, False) is S.FAILING
    assert means(ConnectorState.FINISHED, False) is None


def test_whom_nobody_needs_to_look_at() -> None:
    assert [state for state in S if state.is_well] == [S.PARTLY_PAUSED, S.PAUSED, S.RUNNING, S.IDLE]

"""What has gone through a stream, and its lag: never a nothing where nobody knows."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import TopicPartition

from clearwell.control.jobs import JobStatus
from clearwell.control.stream_figures import Lag, StreamFigures, _figures, lag_of
from clearwell.control.stream_parts import StreamParts
from clearwell.registry.contracts import PublishedContract
from clearwell.registry.jobs import JobState

RAW, CLEAN, DEAD, DROPPED = "raw.s", "clean.s.v1", "dead.s", "dropped.s"
CLEANER = "cleaner.s.v1"


def parts(*versions: int) -> StreamParts:
    published: list[Any] = [PublishedContract("s", version, 0, "", "", None, None) for version in versions]  # type: ignore[arg-type]
    return StreamParts("s", False, published, ever_published=set(versions))


def figures(
    raw: int = 100, clean: int = 60, dead: int = 10, dropped: int = 1, read: int = 90, refused: int = 0, **more: Any
) -> StreamFigures:
    ends = {RAW: {0: raw}, CLEAN: {0: clean}, DEAD: {0: dead}, DROPPED: {0: dropped}}
    return _figures(more.get("parts", parts(1)), ends, {CLEANER: {TopicPartition(RAW, 0): read}}, refused)


def test_what_was_read_and_is_neither_clean_nor_rejected_was_dropped() -> None:
    assert figures() == StreamFigures(raw=100, clean=60, dropped=20, dead=10, unread=10)
    assert figures(refused=4).dropped == 24, "dead letters of destinations are clean events too"
    assert figures(dropped=0).dropped == 0


@pytest.mark.parametrize("why", [{"read": 60}, {"parts": parts(1, 2)}])
def test_what_does_not_add_up_yet_is_unknown(why: dict[str, Any]) -> None:
    """The position is committed after what was written, and a second version reads all events once more."""
    assert figures(**why).dropped is None


def test_a_stream_without_topics_or_contract_has_no_figures() -> None:
    assert _figures(parts(1), {}, {}, 0) == StreamFigures()
    assert _figures(parts(), {RAW: {0: 7, 1: 1}}, {}, 0) == StreamFigures(raw=8, unread=8)
    assert _figures(parts(1), {RAW: {0: 7}}, {}, 0) == StreamFigures(raw=7, unread=7)


def job(name: str = "deliverer.s.v1.x", kind: str = "deliverer", **status: Any) -> JobStatus:
    known: dict[str, Any] = {"state": JobState.RUNNING, "worker": "w", "lag_events": 0, "lag_seconds": 0.0}
    known |= {"stream": "s", "version": 1, "destination": "", "rate": 0.0, "last_error": None, "next_try_at": None}
    return JobStatus(name=name, kind=kind, **(known | status))


@pytest.mark.parametrize(
    ("jobs", "unread", "lag"),
    [
        ([job(), job(CLEANER, "cleaner")], 0, Lag(0, 0.0)),
        ([job(lag_events=70, lag_seconds=8.0), job(CLEANER, "cleaner")], 5, Lag(70, 8.0)),
        ([job(lag_events=7, lag_seconds=1), job("deliverer.s.v1.x#2", lag_events=5, lag_seconds=2)], 0, Lag(12, 2)),
        ([job(worker=None)], 0, Lag(None, None)),
        ([job(worker=None)], 30, Lag(30, None)),
        ([job(state=JobState.PAUSED, lag_events=3, lag_seconds=3.0)], 0, Lag(None, None)),
        ([job(lag_events=None, lag_seconds=None)], 0, Lag(None, None)),
        ([job(lag_events=None, lag_seconds=None), job("y", lag_events=4, lag_seconds=9.0)], 0, Lag(4, 9.0)),
        ([job()], None, Lag(None, 0.0)),
        ([], 8, Lag(8, None)),
    ],
)  # fmt: skip
def test_the_lag_is_that_of_the_job_that_is_furthest_behind(
    jobs: list[JobStatus], unread: int | None, lag: Lag
) -> None:
    assert lag_of(jobs, unread) == lag

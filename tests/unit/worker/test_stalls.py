"""A partition that stands still is told once a minute; one that moves, or waits for nothing, never."""

from __future__ import annotations

import pytest
from faust.types import TP

from clearwell.worker.stalls import Stalls

PLACE = TP("raw.s", 2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_a_healthy_partition_is_never_told_of(caplog: pytest.LogCaptureFixture) -> None:
    stalls = Stalls(60)
    for second in range(1_000):  # another slice each second, with quiet times, and commits in between
        stalls.look(PLACE, second // 2 if second % 3 else None, waits_for_commit=second % 2 == 0, now=float(second))
    assert warnings(caplog) == []


def test_a_slice_that_is_not_durable_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    stalls = Stalls(60)
    for second in range(130):
        stalls.look(PLACE, 99, waits_for_commit=False, now=float(second))
    assert warnings(caplog) == [
        "raw.s, partition 2: the events up to offset 99 are under way, and not durable yet since 60 s.",
        "raw.s, partition 2: the events up to offset 99 are under way, and not durable yet since 120 s.",
    ]


def test_commits_that_stopped_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    stalls = Stalls(60)
    stalls.look(PLACE, 99, waits_for_commit=False, now=0.0)
    stalls.look(PLACE, 99, waits_for_commit=True, now=30.0)  # durable by now: the wait begins anew
    stalls.look(PLACE, 99, waits_for_commit=True, now=89.0)
    assert warnings(caplog) == []
    stalls.look(PLACE, 99, waits_for_commit=True, now=90.0)
    assert warnings(caplog) == [
        "raw.s, partition 2: the events up to offset 99 are durable, but not committed since 60 s."
    ]

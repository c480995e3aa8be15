"""A batch may take the model as long as it will: the member stays in its group, and other members are not held up."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from clearwell.kafka import group_consumer
from clearwell.subscriptions import member as members
from clearwell.subscriptions.subscription import Subscription
from tests.support.collecting import until
from tests.support.following import Stream, every, ids

AT_WORK_S = 5.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka waits 2 s for a member that does not call, in place of minutes."""
    monkeypatch.setattr(group_consumer, "REBALANCE_MS", 2_000)
    monkeypatch.setattr(members, "STAY_S", 0.2)


@pytest.mark.slow
def test_a_batch_that_takes_longer_than_kafka_waits_for_a_member_is_committed(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(members, "TELL_S", 3.0)
    stream.write(0, range(10))
    with stream.follow("model") as events, caplog.at_level(logging.WARNING):
        batch = next(events)
        generation = events._member.generation
        time.sleep(AT_WORK_S)
        batch.commit()
        assert events._member.generation == generation
        assert "has been at work on a batch of partition 0" in caplog.text
        stream.write(0, range(10, 20))
        assert next(events).raw_offsets == list(range(10, 20))  # and what came meanwhile, once


@pytest.mark.slow
def test_another_member_that_comes_meanwhile_waits_for_nobody_and_takes_nothing_from_under_the_model(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_consumer, "REBALANCE_MS", 6_000)  # some heartbeats, by which a member learns of another
    for partition in (0, 1):
        stream.write(partition, range(20))
    with stream.follow("model", max_rows=10) as events:
        batch = next(events)
        taken: list[str] = []
        other = threading.Thread(target=_follow, args=(stream, taken), daemon=True)
        other.start()
        until(lambda: len(taken) == 20, 20.0)  # the model is at work, the group changes hands
        assert not any(identity.startswith(f"{batch.partition}-") for identity in taken)
        time.sleep(AT_WORK_S)
        batch.commit()
        mine = [row["id"] for row in batch.dicts()]
        for batch in events:
            mine += [row["id"] for row in batch.dicts()]
            batch.commit()
    other.join(30)
    assert sorted(mine + taken) == every((0, range(20)), (1, range(20)))


def _follow(stream: Stream, taken: list[str]) -> None:
    with stream.follow("model", idle=4.0) as events:
        for batch in events:
            taken += [row["id"] for row in batch.dicts()]
            batch.commit()


@pytest.mark.slow
def test_a_member_that_kafka_has_thrown_out_meanwhile_commits_if_nobody_has_followed(stream: Stream) -> None:
    """As after a machine that slept, or a model that kept the interpreter for itself."""
    stream.write(0, range(20))
    with stream.follow("model", max_rows=10) as events:
        batch = next(events)
        _throw_out(events)
        batch.commit()
        second = next(events)
        assert second.raw_offsets == list(range(10, 20))
        second.commit()
    with stream.follow("model") as events:
        assert ids(events) == []


def _throw_out(events: Subscription) -> None:
    with events._member._lock:
        consumer: Any = events._member._consumer
        consumer._consumer._coordinator.maybe_leave_group(timeout_ms=5_000)

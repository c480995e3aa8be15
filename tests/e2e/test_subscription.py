"""A model gets every event of the clean topic once, across restarts, repeats in the topic, and other members."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment

from clearwell.errors import ConfigError, Retryable
from clearwell.kafka import admin
from clearwell.kafka.groups import unheld
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import model_group
from clearwell.subscriptions.begin import begin
from clearwell.subscriptions.subscription import PartitionLost, Subscription
from tests.support.following import FOLLOWER, PARTITIONS, Stream, every, ids
from tests.support.kafka_login import login
from tests.support.killing import KILLS
from tests.support.processes import killed_at_end


def test_repeats_in_the_clean_topic_are_dropped_also_across_a_restart(stream: Stream) -> None:
    stream.write(0, range(100))
    stream.write(0, range(40, 100))  # the cleaner died before it committed and cleaned these again
    with stream.follow("model") as events:
        assert sorted(ids(events)) == every((0, range(100)))
    stream.write(0, range(90, 130))
    stream.write(1, range(5))
    with stream.follow("model") as events:
        assert sorted(ids(events)) == every((0, range(100, 130)), (1, range(5)))


def test_a_left_loop_lets_go_of_its_partitions(stream: Stream) -> None:
    stream.write(0, range(10))
    for batch in stream.follow("model"):
        batch.commit()
        break
    del batch
    stream.write(0, range(10, 20))
    began = time.monotonic()
    assert sorted(ids(stream.follow("model"))) == every((0, range(10, 20)))
    assert time.monotonic() - began < 8  # below the session timeout, after which Kafka would take them away


def test_latest_begins_where_the_topic_ended_when_it_was_set(stream: Stream) -> None:
    stream.write(0, range(10))
    assert begin(KafkaLog(stream.bootstrap), stream.name, stream.topic, "latest")[1] == {0: 10, 1: 0}
    stream.write(0, range(10, 15))  # before any model has started: no gap
    with stream.follow(stream.name) as events:
        assert sorted(ids(events)) == every((0, range(10, 15)))
        with pytest.raises(ConfigError, match=f'following "{stream.name}" now'):
            begin(KafkaLog(stream.bootstrap), stream.name, stream.topic, "earliest")
    begin(KafkaLog(stream.bootstrap), stream.name, stream.topic, "earliest")
    with stream.follow(stream.name) as events:
        assert sorted(ids(events)) == every((0, range(15)))


@pytest.mark.slow
def test_a_recreated_clean_topic_is_read_from_its_beginning(stream: Stream) -> None:
    stream.write(0, range(20))
    events = stream.follow("model", idle=10.0)
    batch = next(events)
    admin.delete_topics(stream.bootstrap, [stream.topic])
    while True:  # deletion is under way until the name is free again
        try:
            admin.ensure_topics(stream.bootstrap, stream.name, 1, partitions=PARTITIONS)
            break
        except (Retryable, ConfigError):
            time.sleep(0.1)
    stream.write(0, range(20, 22))
    again = next(events)
    assert again.raw_offsets == [20, 21]
    again.commit()
    with pytest.raises(PartitionLost):
        batch.commit()
    events.close()


@pytest.mark.slow
def test_two_members_share_the_partitions_and_a_lost_one_refuses_to_commit(stream: Stream) -> None:
    stream.write(0, range(100))
    stream.write(1, range(100))
    one = stream.follow("model", idle=0.5, max_rows=50)
    first = next(one)
    first.commit()
    pending = next(one)
    while next(one).partition == pending.partition:  # what it is at work on last stays with it
        pass
    taken: list[str] = []
    other = threading.Thread(target=_drain, args=(stream.follow("model", idle=6.0), taken))
    other.start()
    while not taken:  # a member that asks for more is at work on nothing, and may keep the pending one's partition
        time.sleep(0.05)
    with pytest.raises(PartitionLost, match="taken from this member"):
        pending.commit()
    one.close()
    other.join(60)
    mine = [row["id"] for row in first.dicts()]
    assert sorted(mine + taken) == every((0, range(100)), (1, range(100)))


def _drain(events: Subscription, taken: list[str]) -> None:
    with events:
        for batch in events:
            taken += [row["id"] for row in batch.dicts()]
            batch.commit()


@pytest.mark.slow
def test_no_gap_and_no_repeat_over_kills_at_random_moments(stream: Stream, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")  # shown when this fails
    chance, log, total = random.Random(seed), tmp_path / "log", 4_000
    for partition in range(PARTITIONS):
        stream.write(partition, range(total // 2))
        stream.write(partition, range(total // 4, total))
    for _ in range(KILLS):
        with start(stream, log, idle=30.0) as model:
            assert model.stdout is not None and model.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.7))
    with start(stream, log, idle=3.0) as model:
        assert model.wait(60) == 0
    check(log.read_text().splitlines(), total)


@pytest.mark.slow
@pytest.mark.parametrize("assigned", [[], [0]], ids=["nothing", "one partition"])
def test_what_a_killed_leader_assigned_to_no_one_is_read(stream: Stream, tmp_path: Path, assigned: list[int]) -> None:
    for partition in range(PARTITIONS):
        stream.write(partition, range(100))
    leave_assignment(stream, assigned)
    log = tmp_path / "log"
    with start(stream, log, idle=3.0) as model:
        assert model.wait(40) == 0
    check(log.read_text().splitlines(), 100)


def leave_assignment(stream: Stream, assigned: list[int]) -> None:
    """What the broker has stored once the static member "one" was killed as leader, having assigned only that much."""

    class Unknowing(RangePartitionAssignor):  # type: ignore[misc]
        """Does not know of the other partitions."""

        @classmethod
        def assign(cls, cluster: object, members: list[Any]) -> dict[str, ConsumerProtocolAssignment]:
            places = [(stream.topic, assigned)] if assigned else []
            return {member.member_id: ConsumerProtocolAssignment(cls.version, places, b"") for member in members}

    consumer = KafkaConsumer(
        **login(stream.bootstrap),
        group_id=model_group(stream.name),
        group_instance_id="one",  # a static member does not leave the group when it is closed
        enable_auto_commit=False,
        partition_assignment_strategy=(Unknowing,),
        session_timeout_ms=60_000,
    )
    consumer.subscribe([stream.topic])
    consumer.partitions_for_topic(stream.topic)
    lacking = set(range(PARTITIONS)) - set(assigned)
    while unheld(stream.bootstrap, model_group(stream.name), stream.topic) != lacking:
        consumer.poll(100)
    consumer.close()


@pytest.mark.slow
def test_a_member_too_many_idles_and_disturbs_no_one(stream: Stream) -> None:
    stream.write(0, range(10))
    members = [stream.follow(stream.name, idle=30.0, member=f"m{number}") for number in range(PARTITIONS)]
    with ExitStack() as open_members:
        for member in members:
            open_members.enter_context(member)
        done = threading.Event()
        others = [threading.Thread(target=_keep_polling, args=(member, done)) for member in members]
        for other in others:
            other.start()
        try:
            with stream.follow(stream.name, idle=7.0, member="m9") as spare:
                while spare._member.generation < 0 or spare._member.partitions:  # until the others hold all
                    spare._fetch()
                generation = spare._member.generation
                assert (ids(spare), spare._member.generation) == ([], generation)
        finally:
            done.set()
            for other in others:
                other.join()


def _keep_polling(member: Subscription, done: threading.Event) -> None:
    while not done.is_set():
        member._fetch()


@contextmanager
def start(stream: Stream, log: Path, idle: float) -> Iterator[subprocess.Popen[bytes]]:
    """The follower as a process, killed at the end of the block; its group is no other test's: "one" stays a while."""
    argv = [sys.executable, str(FOLLOWER), stream.bootstrap, stream.name, stream.name, str(log), str(idle)]
    with killed_at_end(argv, stdout=subprocess.PIPE) as model:
        yield model


def check(lines: list[str], total: int) -> None:
    """Every event was got, in order; what was noted as committed never came again."""
    done: dict[int, int] = dict.fromkeys(range(PARTITIONS), -1)
    got: dict[int, set[int]] = {partition: set() for partition in range(PARTITIONS)}
    for line in lines:
        word, partition, offsets = line.split()
        numbers = [int(offset) for offset in offsets.split(",")]
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "a gap or a repeat inside a batch"
        assert numbers[0] > done[int(partition)], "a committed event came again"
        if word == "done":
            done[int(partition)] = numbers[-1]
        else:
            got[int(partition)].update(numbers)
    assert all(found == set(range(total)) for found in got.values())

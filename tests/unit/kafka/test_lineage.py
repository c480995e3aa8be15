"""A position is true only while its log is the same one: leader epochs tell, and where the two part."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from clearwell.kafka.lineage import EPOCH, TIME, Lineage, Log, Parted, Point, branch_id, is_branch
from clearwell.records.origins import Origins
from clearwell.worker.positions import CommitNote

TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAA"


class Broker:
    """One partition: records are (epoch, time); a new leader may have lost the end of the log."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int]] = []
        self.epoch = 0
        self.starts = [(0, 0)]  # of epochs, as a broker keeps them
        self.time = 0

    def append(self, count: int) -> None:
        for _ in range(count):
            self.time += 1
            self.records.append((self.epoch, self.time))

    def elect(self, lose: int = 0) -> None:
        self.epoch += 2
        self.time += 1_000
        del self.records[max(0, len(self.records) - lose) :]
        self.starts = [(epoch, start) for epoch, start in self.starts if start <= len(self.records)]
        self.starts.append((self.epoch, len(self.records)))

    def end_of(self, partition: int, epoch: int) -> int:
        after = [start for one, start in self.starts if one > epoch]
        return min(after) if after else len(self.records)

    def time_at(self, partition: int, offset: int) -> int | None:
        return self.records[offset][1] if offset < len(self.records) else None

    def log(self) -> Log:
        return Log("raw.s", self.end_of, self.time_at)


def at_end(broker: Broker) -> Point:
    return Point(len(broker.records), broker.epoch, broker.records[-1][1] if broker.records else -1)


def test_elections_that_lose_nothing_are_no_alarm() -> None:
    broker = Broker()
    broker.append(100)
    point = at_end(broker)
    for _ in range(3):
        broker.elect()
        broker.append(50)
    assert broker.log().parted_at(0, point, broker.epoch) is None


def test_a_log_that_went_back_is_told_with_the_offset_where_it_parts() -> None:
    broker = Broker()
    broker.append(1_000)
    point = at_end(broker)
    broker.elect(lose=300)
    assert broker.log().parted_at(0, point, broker.epoch) == 700, "before anything is written there"
    broker.append(500)
    assert broker.log().parted_at(0, point, broker.epoch) == 700, "and after"
    with pytest.raises(Parted, match=r"partition 0: Kafka has lost what was read of it at offsets 700 to 999.*do it"):
        Lineage(broker.log(), "do it").check({0: point}, {0: broker.epoch})


def test_an_epoch_that_we_knew_late_is_no_alarm() -> None:
    """A broker that lags tells an old epoch with records of the new one: the last record has its time, all is well."""
    broker = Broker()
    broker.append(100)
    old = broker.epoch
    broker.elect()
    broker.append(10)
    assert broker.log().parted_at(0, Point(110, old, broker.records[-1][1]), broker.epoch) is None


def test_random_lives_of_a_log() -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    broker, read = Broker(), list[tuple[int, int]]()
    point = Point(0)
    for _ in range(300):
        broker.append(rng.randrange(20))
        if rng.random() < 0.5:
            read, point = list(broker.records), at_end(broker)
        if rng.random() < 0.3:
            broker.elect(lose=rng.choice([0, 0, 3, 15]))
        same = 0
        while same < min(len(read), len(broker.records)) and read[same] == broker.records[same]:
            same += 1
        parted = broker.log().parted_at(0, point, broker.epoch)
        assert parted == (same if same < len(read) else None), f"seed {seed}"
        if parted is not None:
            read, point = broker.records[:parted], Point(parted, broker.epoch)


def test_what_a_group_stores_is_read_back_and_old_notes_are_taken() -> None:
    note = CommitNote(TOPIC_ID, 7, 1_796_000_000_000, ((branch_id(TOPIC_ID, 5), 700), (branch_id(TOPIC_ID, 7), 650)))
    assert CommitNote.read(str(note)) == note
    assert CommitNote.read(TOPIC_ID) == CommitNote(TOPIC_ID)
    assert CommitNote.read(None) == CommitNote.read("") == CommitNote("")
    assert [note.origin_at(offset) for offset in (649, 650, 699, 700)] == [TOPIC_ID] + [branch_id(TOPIC_ID, 7)] * 3
    longest = CommitNote(TOPIC_ID, 10**6, 10**13, tuple((branch_id(TOPIC_ID, n), 10**12) for n in range(80)))
    assert len(str(longest)) < 4_096, "Kafka takes no more beside an offset"


def test_marks_keep_a_point() -> None:
    assert Point.of(40, {TOPIC_ID: 30, EPOCH: 3, TIME: 9}) == Point(40, 3, 9)
    assert Point(40).high_watermarks == {}
    assert Point.of(40, Point(40, 3, 9).high_watermarks) == Point(40, 3, 9)


def test_a_branch_is_a_topic_s_own_and_its_events_are_explained() -> None:
    branch = branch_id(TOPIC_ID, 12)
    assert len(branch) == 22
    assert is_branch(TOPIC_ID, branch)
    assert not is_branch("B" * 22, branch)
    origins = Origins(lambda: (TOPIC_ID, {0: 1_000}))
    origins.refresh()
    topics = [TOPIC_ID, branch, branch, "C" * 22]
    assert origins.explained(0, topics, [699, 700, 1_000, 5], {}) == [True, True, False, False]


def test_epochs_of_branches_differ() -> None:
    ids = [branch_id(TOPIC_ID, epoch) for epoch in range(100)]
    assert len(set(ids)) == 100
    assert all(one != other for one, other in pairwise(ids))

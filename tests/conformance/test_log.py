"""A log in memory and a Kafka cluster answer readers and writers alike: the same cases, run against both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pytest
from kafka import TopicPartition

from clearwell.errors import ConfigError, Retryable
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog, LogClient, log_of
from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.producer import EventProducer
from clearwell.settings import Settings
from clearwell.testing.memory_log import MemoryLog
from tests.support.transactions import KafkaTransaction


class Transaction(Protocol):
    """Of a producer that is not ours."""

    def produce(self, topic: str, partition: int, values: Sequence[bytes]) -> object: ...

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class LogCase(Protocol):
    """A log, and what a test does to it."""

    log: LogClient

    def create_topic(self, name: str, partitions: int = 1) -> None: ...

    def delete_topic(self, name: str) -> None: ...

    def remove_before(self, topic: str, offsets: Mapping[int, int]) -> None: ...

    def transaction(self) -> Transaction: ...

    def producer(self) -> EventProducer: ...

    def pause(self) -> int: ...


class MemoryCase:
    """Without a server."""

    def __init__(self) -> None:
        self.log = self.memory = MemoryLog()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self.memory.create_topic(name, partitions)

    def delete_topic(self, name: str) -> None:
        self.memory.delete_topics([name])

    def remove_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        self.memory.remove_before(topic, offsets)

    def transaction(self) -> Transaction:
        return self.memory.transaction()

    def producer(self) -> Any:
        return self.memory.producer("test")

    def pause(self) -> int:
        self.memory.tick()
        self.memory.tick()
        return self.memory.clock.milliseconds


class KafkaCase:
    """On the shared stack."""

    def __init__(self, address: str, unique: Callable[[str], str]) -> None:
        self.log = KafkaLog(address)
        self._unique = unique
        self._made: set[str] = set()
        self._producer = EventProducer(address, "test")

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._made.add(name)
        settings = {"message.timestamp.type": "LogAppendTime"}
        topic = {name: {"num_partitions": partitions, "replication_factor": -1, "configs": settings}}
        admin.ask(self.log.address, "creating", lambda client: client.create_topics(topic, wait_for_metadata=True))

    def delete_topic(self, name: str) -> None:
        admin.delete_topics(self.log.address, [name])
        while True:
            try:
                self.log.topic_now(name)
            except Retryable:
                return
            time.sleep(0.02)

    def remove_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        places = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        admin.ask(self.log.address, "removing", lambda client: client.delete_records(places))

    def transaction(self) -> Transaction:
        return KafkaTransaction(self.log.address, self._unique("transaction"))

    def producer(self) -> EventProducer:
        return self._producer

    def pause(self) -> int:
        time.sleep(0.005)
        now = int(time.time() * 1000)
        time.sleep(0.005)
        return now

    def close(self) -> None:
        self._producer.close()
        admin.delete_topics(self.log.address, self._made)


@pytest.fixture(params=["memory", "kafka"])
def case(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Iterator[LogCase]:
    if request.param == "memory":
        yield MemoryCase()
        return
    stack: Settings = request.getfixturevalue("stack")
    case = KafkaCase(stack.kafka, unique)
    yield case
    case.close()


@pytest.fixture
def topic(case: LogCase, unique: Callable[[str], str]) -> str:
    """One partition."""
    name = unique("log")
    case.create_topic(name)
    return name


def record(value: bytes, key: bytes | None = b"k") -> Record:
    headers = encode_headers([("ce_id", value[:9]), ("long", b"x" * 300), ("null", None)])
    return Record(key, value, headers, key or b"")


def values(*numbers: int) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def put(case: LogCase, topic: str, *numbers: int, partition: int = 0) -> list[int]:
    return case.producer().begin_at(topic, partition, [record(value) for value in values(*numbers)]).offsets()


def read(case: LogCase, topic: str, start: int = 0, end: int = 10**9, partition: int = 0) -> list[Any]:
    async def reading() -> list[Any]:
        async with case.log.reader() as log:
            return [record async for some in log.records(topic, partition, start, end) for record in some]

    return asyncio.run(reading())


def settle(case: LogCase, topic: str, end: int) -> None:
    """Kafka writes the marker that ends a transaction a moment after it was ended; it has an offset, too."""
    until = time.monotonic() + 10
    while (found := case.log.end_offsets(topic)[0]) != end:
        assert time.monotonic() < until, found
        time.sleep(0.01)


def test_records_come_as_they_were_written(case: LogCase, topic: str) -> None:
    written = [record(b"one"), record(b"two", None), record(b"")]
    assert case.producer().begin_at(topic, 0, written).offsets() == [0, 1, 2]
    found = read(case, topic)
    assert [(one.offset, one.key, one.value) for one in found] == [(0, b"k", b"one"), (1, None, b"two"), (2, b"k", b"")]
    assert list(found[0].headers) == [("ce_id", b"one"), ("long", b"x" * 300), ("null", None)]
    assert [one.timestamp_type for one in found] == [1, 1, 1]


def test_each_partition_keeps_the_order_of_its_writer_and_a_key_its_partition(
    case: LogCase, unique: Callable[[str], str]
) -> None:
    topic = unique("log")
    case.create_topic(topic, 3)
    written = [record(b"%d" % number, b"k%d" % (number % 7)) for number in range(60)]
    for start in range(0, 60, 20):
        case.producer().begin(topic, written[start : start + 20]).wait()
    found = [read(case, topic, partition=partition) for partition in range(3)]
    assert sum(map(len, found)) == 60
    assert case.log.end_offsets(topic) == {partition: len(some) for partition, some in enumerate(found)}
    for some in found:
        assert [one.offset for one in some] == list(range(len(some)))
        for key in {one.key for one in some}:
            assert [one.value for one in some if one.key == key] == [one.value for one in written if one.key == key]


def test_a_range_holds_its_first_and_not_its_end(case: LogCase, topic: str) -> None:
    put(case, topic, *range(10))
    assert [one.value for one in read(case, topic, 3, 6)] == values(3, 4, 5)
    assert read(case, topic, 6, 6) == read(case, topic, 10, 20) == []


def test_retention_moves_the_beginning_and_no_offset(case: LogCase, topic: str) -> None:
    assert (case.log.begin_offsets(topic), case.log.end_offsets(topic)) == ({0: 0}, {0: 0})
    put(case, topic, *range(10))
    case.remove_before(topic, {0: 4})
    assert (case.log.begin_offsets(topic), case.log.end_offsets(topic)) == ({0: 4}, {0: 10})
    assert [one.offset for one in read(case, topic)] == [4, 5, 6, 7, 8, 9]
    case.remove_before(topic, {0: 10})
    assert (case.log.begin_offsets(topic), case.log.end_offsets(topic)) == ({0: 10}, {0: 10})
    assert put(case, topic, 10) == [10]


def test_a_topic_that_is_made_again_is_another_one(case: LogCase, topic: str) -> None:
    put(case, topic, 1)
    before = case.log.topic_now(topic)
    assert case.log.id_and_ends(topic) == (before, {0: 1})
    assert len(before) == 22
    assert case.log.commit("group", topic, {0: (1, before)})
    case.delete_topic(topic)
    with pytest.raises(Retryable, match="does not exist"):
        case.log.topic_now(topic)
    case.create_topic(topic)
    assert case.log.topic_now(topic) != before
    assert case.log.end_offsets(topic) == {0: 0}


def test_a_stream_without_topics_is_told(case: LogCase, unique: Callable[[str], str]) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        case.log.require_topics(unique("stream"), 1)


def test_a_group_stores_a_text_beside_each_offset(case: LogCase, unique: Callable[[str], str]) -> None:
    topic, group = unique("log"), unique("group")
    case.create_topic(topic, 2)
    assert case.log.committed(group, topic) == {}
    assert case.log.commit(group, topic, {0: (0, "from the beginning"), 1: (5, "")})
    assert case.log.commit(group, topic, {1: (7, "later")})
    assert case.log.committed(group, topic) == {0: (0, "from the beginning"), 1: (7, "later")}
    assert case.log.committed(group, unique("log")) == {}


def test_a_group_with_a_member_takes_commits_from_nobody_else(case: LogCase, unique: Callable[[str], str]) -> None:
    topic, group = unique("log"), unique("group")
    case.create_topic(topic, 2)
    put(case, topic, *range(3), partition=1)
    member = case.log.consumer(group, topic, list, instance=None, max_records=10)
    try:
        until = time.monotonic() + 20
        while not member.assignment():
            assert time.monotonic() < until
            member.poll(100)
        assert (member.assignment(), member.committed(1)) == ([0, 1], None)
        member.seek(1, 1)
        fetched: list[Any] = []
        while len(fetched) < 2:
            assert time.monotonic() < until
            fetched += member.poll(100).get(1, [])
        assert [record.value for record in fetched] == values(1, 2)
        member.commit({1: (3, "mine")})
        assert not case.log.commit(group, topic, {1: (0, "another's")})
        assert case.log.unheld(group, topic) == set()
    finally:
        member.close()
    assert case.log.committed(group, topic) == {1: (3, "mine")}
    assert case.log.commit(group, topic, {1: (2, "set back")})


def test_only_what_a_transaction_has_committed_is_read(case: LogCase, topic: str) -> None:
    put(case, topic, 0)
    aborted, committed = case.transaction(), case.transaction()
    aborted.produce(topic, 0, values(1, 2))
    aborted.abort()
    settle(case, topic, 4)
    committed.produce(topic, 0, values(4))
    put(case, topic, 5)
    assert [one.value for one in read(case, topic)] == values(0)
    assert case.log.end_offsets(topic) == {0: 4}, (
        "the first of an open transaction, and what follows it, may not be read"
    )
    committed.commit()
    settle(case, topic, 7)
    assert [(one.offset, one.value) for one in read(case, topic)] == [(0, b"0"), (4, b"4"), (5, b"5")]


def test_an_offset_is_found_by_the_time_at_which_it_was_appended(case: LogCase, topic: str) -> None:
    put(case, topic, 1, 2)
    between = case.pause()
    put(case, topic, 3)
    assert case.log.offsets_at(topic, between) == {0: 2}
    assert case.log.offsets_at(topic, between + 3_600_000) == {0: None}
    times = [one.timestamp for one in read(case, topic)]
    assert times == sorted(times)
    assert times[1] <= between <= times[2]
    assert log_of(case.log, topic).time_at(0, 2) == times[2]


def test_the_present_leader_epoch_ends_where_the_log_ends(case: LogCase, topic: str) -> None:
    put(case, topic, 1, 2)
    epoch = case.log.topic_now(topic).epochs[0]
    assert case.log.end_of_epoch(topic, 0, epoch) == 2
    assert case.log.end_of_epoch(topic, 0, epoch + 5) == -1

"""A log in memory that behaves to its readers and writers as Kafka does; tests/conformance/test_log.py compares them.

It has topics with ids (another one when a topic is made again), partitions, consumer groups that share them, offsets
committed with a text beside them, retention, transactions, leader epochs and append times by a clock that tests set.
"""

from __future__ import annotations

import base64
import itertools
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from clearwell.errors import ConfigError, Retryable
from clearwell.kafka.admin import TopicNow
from clearwell.kafka.topics import PARTITIONS, plans
from clearwell.testing.clock import Clock
from clearwell.testing.memory_group import MemoryConsumer, MemoryGroup
from clearwell.testing.memory_partition import MemoryPartition
from clearwell.testing.memory_producer import MemoryProducer, MemoryTransaction
from clearwell.testing.memory_reader import MemoryReader

_numbers = itertools.count(1)

TICK = timedelta(milliseconds=1)


@dataclass(slots=True)
class MemoryTopic:
    """`retention` None keeps everything."""

    partitions: list[MemoryPartition]
    retention: timedelta | None = None
    id: str = field(default_factory=lambda: base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode())


class MemoryLog:
    """A `clearwell.kafka.log_client.LogClient`, and what a test does to a log. Thread-safe."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Without topics; by default with a clock of its own."""
        self.clock = clock or Clock()
        self.address = f"memory-{next(_numbers)}"
        self.lock = threading.RLock()
        self.available = True
        """False is a Kafka that does not answer: everything raises Retryable."""
        self._topics: dict[str, MemoryTopic] = {}
        self._committed: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
        self._groups: dict[str, MemoryGroup] = {}

    # What a test does to a log.

    def create_topic(self, name: str, partitions: int = PARTITIONS, retention: timedelta | None = None) -> str:
        """Returns the new topic's id. Raises ValueError where there is one."""
        with self.lock:
            if name in self._topics:
                raise ValueError(f"There is a topic {name}.")
            topic = self._topics[name] = MemoryTopic([MemoryPartition() for _ in range(partitions)], retention)
            return topic.id

    def create_topics(self, stream: str, version: int, partitions: int = PARTITIONS) -> None:
        """Create what is missing of the topics of a stream's version, with the retention that they have in Kafka."""
        for plan in plans(stream, version):
            if plan.name not in self._topics:
                self.create_topic(plan.name, partitions, timedelta(days=plan.days))

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all they hold, and what groups have committed for them."""
        with self.lock:
            for name in names:
                del self._topics[name]
                for committed_key in [committed_key for committed_key in self._committed if committed_key[1] == name]:
                    del self._committed[committed_key]

    def remove_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Remove what is before an offset of each partition, as retention does."""
        for partition, offset in offsets.items():
            self.partition(topic, partition).remove_before(offset)

    def retain(self) -> None:
        """Remove what is older than its topic's retention by the clock."""
        with self.lock:
            for topic in self._topics.values():
                for partition in topic.partitions if topic.retention is not None else ():
                    oldest = round((self.clock.now - (topic.retention or timedelta())).timestamp() * 1000)
                    first = partition.offset_at(oldest)
                    partition.remove_before(partition.end if first is None else first)

    def elect(self, topic: str, partition: int, lost: int = 0) -> None:
        """Give a partition a new leader who has not got its last `lost` records (an unclean election, a power cut)."""
        self.partition(topic, partition).elect(lost)

    def transaction(self) -> MemoryTransaction:
        """Open a transaction."""
        return MemoryTransaction(self)

    # What readers and writers ask of it; see `LogClient`.

    def topic_now(self, topic: str) -> TopicNow:
        with self.lock:
            known = self.topic(topic)
            now = TopicNow(known.id)
            now.epochs = {number: partition.epoch for number, partition in enumerate(known.partitions)}
            return now

    def require_topics(self, stream: str, version: int) -> dict[str, str]:
        with self.lock:
            self.require_available()
            names = [plan.name for plan in plans(stream, version)]
            missing = [name for name in names if name not in self._topics]
            if missing:
                raise ConfigError(f"Topic {', '.join(missing)} does not exist on {self.address}.")
            return {name: self._topics[name].id for name in names}

    def begin_offsets(self, topic: str) -> dict[int, int]:
        with self.lock:
            return {number: partition.begin for number, partition in enumerate(self.topic(topic).partitions)}

    def end_offsets(self, topic: str) -> dict[int, int]:
        with self.lock:
            return {number: partition.stable_end for number, partition in enumerate(self.topic(topic).partitions)}

    def id_and_ends(self, topic: str) -> tuple[str, dict[int, int]]:
        with self.lock:
            return self.topic(topic).id, self.end_offsets(topic)

    def offsets_at(self, topic: str, milliseconds: int) -> dict[int, int | None]:
        with self.lock:
            return {
                number: partition.offset_at(milliseconds)
                for number, partition in enumerate(self.topic(topic).partitions)
            }

    def end_of_epoch(self, topic: str, partition: int, epoch: int) -> int:
        with self.lock:
            return self.partition(topic, partition).end_of_epoch(epoch)

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        with self.lock:
            self.require_available()
            return dict(self._committed.get((group, topic), {}))

    def reader(self) -> AbstractAsyncContextManager[MemoryReader]:
        @asynccontextmanager
        async def open_reader() -> AsyncIterator[MemoryReader]:
            yield MemoryReader(self)

        return open_reader()

    def producer(self, client_id: str) -> MemoryProducer:
        return MemoryProducer(self)

    def consumer(
        self, group: str, topic: str, claims: Callable[[], Sequence[int]], *, instance: str | None, max_records: int
    ) -> MemoryConsumer:
        return MemoryConsumer(self, group, topic, claims, instance=instance, max_records=max_records)

    def commit(self, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> bool:
        with self.lock:
            if self.group(group).members:
                return False
            self.store(group, topic, offsets)
            return True

    def unheld(self, group: str, topic: str) -> set[int] | None:
        with self.lock:
            held = itertools.chain.from_iterable(self.group(group).assignment.values())
            return set(range(len(self.topic(topic).partitions))).difference(held)

    # What the parts of this log share.

    def group(self, name: str) -> MemoryGroup:
        """The group of a name, made where there is none."""
        return self._groups.setdefault(name, MemoryGroup())

    def store(self, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> None:
        """What a group has committed from now on: (next offset, text) by partition."""
        with self.lock:
            self.topic(topic)
            self._committed.setdefault((group, topic), {}).update(offsets)

    def topic(self, name: str) -> MemoryTopic:
        """Raises Retryable where there is none, as Kafka may just not know it yet."""
        self.require_available()
        if name not in self._topics:
            raise Retryable(f"Topic {name} does not exist on {self.address} (yet): register a connector for it.")
        return self._topics[name]

    def partition(self, topic: str, number: int) -> MemoryPartition:
        """Raises Retryable where the topic has none of that number."""
        partitions = self.topic(topic).partitions
        if not 0 <= number < len(partitions):
            raise Retryable(f"Kafka at {self.address} does not know partition {number} of {topic}.")
        return partitions[number]

    def tick(self) -> int:
        """The time of what is appended now; each is a millisecond later than the one before."""
        self.clock.advance(TICK)
        return self.clock.milliseconds

    def require_available(self) -> None:
        """Raises Retryable where the log was made not to answer."""
        if not self.available:
            raise Retryable(f"Kafka at {self.address} did not answer: is it running, and is CLEARWELL_KAFKA right?")

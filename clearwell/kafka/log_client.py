"""What readers and writers ask of a log; Kafka answers them, or a log in memory (`clearwell.testing.MemoryLog`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from clearwell.kafka import admin, groups, range_reader
from clearwell.kafka.admin import TopicNow
from clearwell.kafka.group_consumer import GroupConsumer, KafkaGroupConsumer
from clearwell.kafka.lineage import Log


class RangeReader(Protocol):
    """Reads ranges of partitions one after the other, outside any consumer group; only what is committed."""

    async def begin(self, topic: str, partition: int) -> int:
        """Offset of the oldest record still there."""

    async def end(self, topic: str, partition: int) -> int:
        """Offset after the last record that may be read: an open transaction's, and what follows, may not yet."""

    def records(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        """Non-empty lists of records with offsets in [start, end), as far as retention still has them, in order."""


class LogClient(Protocol):
    """One cluster. Functions block and raise Retryable when it does not answer or does not know the topic."""

    @property
    def address(self) -> str:
        """For people: which cluster it is."""

    def topic_now(self, topic: str) -> TopicNow:
        """The topic's id (KIP-516), and the leader epochs of its partitions at that moment."""

    def require_topics(self, stream: str, version: int) -> dict[str, str]:
        """The ids of a stream's four topics by name. Raises ConfigError when one is missing."""

    def begin_offsets(self, topic: str) -> dict[int, int]:
        """Partition → offset of the oldest record still there (the end offset where there is none)."""

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Partition → offset after the last record that may be read."""

    def id_and_ends(self, topic: str) -> tuple[str, dict[int, int]]:
        """The id of a topic, and its end offsets; the id was the topic's before them."""

    def offsets_at(self, topic: str, milliseconds: int) -> dict[int, int | None]:
        """Partition → offset of the first record appended at or after a Unix time in ms; None where there is none."""

    def end_of_epoch(self, topic: str, partition: int, epoch: int) -> int:
        """The offset at which a leader epoch ends, the log's end where that is the present one; -1: unknown."""

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """Partition → (next offset, text stored beside it) of a group; empty when it never committed."""

    def commit(self, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> bool:
        """Store partition → (next offset, text) for a group without members; False where it has some."""

    def unheld(self, group: str, topic: str) -> set[int] | None:
        """The partitions of a topic that no member of a group holds; None while the group is being formed."""

    def consumer(
        self,
        group: str,
        topic: str,
        claims: Callable[[], Sequence[int]],
        *,
        instance: str | None,
        max_records: int,
    ) -> GroupConsumer:
        """A member of a group that shares one topic; arguments as `KafkaGroupConsumer` takes them."""

    def reader(self) -> AbstractAsyncContextManager[RangeReader]:
        """A reader, closed at the end."""


class KafkaLog:
    """A Kafka cluster as a `LogClient`; `address` is "host:port[,host:port]"."""

    def __init__(self, address: str) -> None:
        """Connects to nothing yet."""
        self.address = address

    def topic_now(self, topic: str) -> TopicNow:
        return admin.topic_now(self.address, topic)

    def require_topics(self, stream: str, version: int) -> dict[str, str]:
        return admin.require_topics(self.address, stream, version)

    def begin_offsets(self, topic: str) -> dict[int, int]:
        return admin.begin_offsets(self.address, topic)

    def end_offsets(self, topic: str) -> dict[int, int]:
        return admin.end_offsets(self.address, topic)

    def id_and_ends(self, topic: str) -> tuple[str, dict[int, int]]:
        return admin.id_and_ends(self.address, topic)

    def offsets_at(self, topic: str, milliseconds: int) -> dict[int, int | None]:
        return admin.offsets_at(self.address, topic, milliseconds)

    def end_of_epoch(self, topic: str, partition: int, epoch: int) -> int:
        return admin.end_of_epoch(self.address, topic, partition, epoch)

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        return groups.committed(self.address, group, topic)

    def commit(self, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> bool:
        return groups.commit(self.address, group, topic, offsets)

    def unheld(self, group: str, topic: str) -> set[int] | None:
        return groups.unheld(self.address, group, topic)

    def consumer(
        self,
        group: str,
        topic: str,
        claims: Callable[[], Sequence[int]],
        *,
        instance: str | None,
        max_records: int,
    ) -> KafkaGroupConsumer:
        return KafkaGroupConsumer(self.address, group, topic, claims, instance=instance, max_records=max_records)

    def reader(self) -> AbstractAsyncContextManager[range_reader.KafkaRangeReader]:
        return range_reader.reader(self.address)


def log_of(client: LogClient, topic: str) -> Log:
    """What a lineage asks about a topic; its functions block, and are to be called outside of an event loop."""

    async def time_at(partition: int, offset: int) -> int | None:
        async with client.reader() as log:
            async for records in log.records(topic, partition, offset, offset + 1):
                return int(records[0].timestamp)
        return None

    def ask_time_at(partition: int, offset: int) -> int | None:  # the caller's thread may be running a loop
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, time_at(partition, offset)).result()

    return Log(topic, lambda partition, epoch: client.end_of_epoch(topic, partition, epoch), ask_time_at)

"""Reads the near past of a stream's topics, so that state lives in the log and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from clearwell.kafka import dead
from clearwell.kafka.names import dead_topic, raw_topic


class Tail:
    """Bounded reads of raw and dead topics, outside any consumer group."""

    def __init__(self, bootstrap: str, stream: str) -> None:
        self._bootstrap = bootstrap
        self._stream = stream

    async def raw(self, partition: int, start: int, end: int) -> AsyncIterator[tuple[list[int], list[bytes | None]]]:
        """Offsets and values of raw events in [start, end), as far as retention still has them, in slices."""
        async for records in self._read(raw_topic(self._stream), partition, start, end):
            yield [r.offset for r in records], [r.value for r in records]

    async def dead_offsets(self, partition: int, topic_id: str, start: int, end: int) -> list[int]:
        """Raw offsets in [start, end) of one raw incarnation that have a dead letter, sorted.

        Looks at the last 2 x (end - start) letters: repeats after a crash can double them, hardly more.
        """
        topic = dead_topic(self._stream)
        last = await self._end(topic, partition)
        found: set[int] = set()
        async for records in self._read(topic, partition, last - 2 * (end - start), last):
            letters = (dead.read(record.headers) for record in records)
            found.update(one.offset for one in letters if one.topic_id == topic_id and start <= one.offset < end)
        return sorted(found)

    async def _end(self, topic: str, partition: int) -> int:
        async with self._consumer() as consumer:
            tp = TopicPartition(topic, partition)
            return int((await consumer.end_offsets([tp]))[tp])

    async def _read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        async with self._consumer() as consumer:
            tp = TopicPartition(topic, partition)
            consumer.assign([tp])
            begin = (await consumer.beginning_offsets([tp]))[tp]
            end = min(end, (await consumer.end_offsets([tp]))[tp])
            consumer.seek(tp, max(start, begin))
            while await consumer.position(tp) < end:
                for records in (await consumer.getmany(tp, timeout_ms=500)).values():
                    wanted = [record for record in records if record.offset < end]
                    if wanted:
                        yield wanted

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4_194_304,
        )

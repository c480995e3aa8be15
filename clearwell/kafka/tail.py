"""Reads the near past of a stream's topics, so that state lives in the log and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from clearwell.kafka import dead
from clearwell.kafka.bounded import reader
from clearwell.kafka.names import dead_topic, raw_topic


class Tail:
    """Bounded reads of raw and dead topics, outside any consumer group."""

    def __init__(self, bootstrap: str, stream: str) -> None:
        self._bootstrap = bootstrap
        self._stream = stream

    async def raw(self, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        """Records of raw events in [start, end), as far as retention still has them, in slices."""
        async with reader(self._bootstrap) as log:
            async for records in log.records(raw_topic(self._stream), partition, start, end):
                yield records

    async def dead_offsets(self, partition: int, topic_id: str, start: int, end: int) -> list[int]:
        """Raw offsets in [start, end) of one raw incarnation that have a dead letter, sorted.

        Looks at the last 2 x (end - start) letters: repeats after a crash can double them, hardly more.
        """
        topic = dead_topic(self._stream)
        found: set[int] = set()
        async with reader(self._bootstrap) as log:
            last = await log.end(topic, partition)
            async for records in log.records(topic, partition, last - 2 * (end - start), last):
                letters = (dead.read(record.headers) for record in records)
                found.update(one.offset for one in letters if one.topic_id == topic_id and start <= one.offset < end)
        return sorted(found)

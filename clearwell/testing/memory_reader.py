"""Bounded reads of a log in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from clearwell.testing.memory_partition import MemoryRecord

if TYPE_CHECKING:
    from clearwell.testing.memory_log import MemoryLog

SLICE = 500


class MemoryReader:
    """As `clearwell.kafka.range_reader.Reader`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def begin(self, topic: str, partition: int) -> int:
        """Offset of the oldest record still there."""
        return self._log.begin_offsets(topic)[partition]

    async def end(self, topic: str, partition: int) -> int:
        """Offset after the last record that may be read."""
        return self._log.end_offsets(topic)[partition]

    async def records(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[MemoryRecord]]:
        """Non-empty lists of records with offsets in [start, end), as far as retention still has them, in order."""
        while True:
            with self._log.lock:
                records = self._log.partition(topic, partition).read(start, end, SLICE)
            if not records:
                return
            start = records[-1].offset + 1
            yield records

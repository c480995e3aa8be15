"""Raw events of consecutive ranges, read from Kafka once: what was fetched beyond a range is kept for the next."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from typing import Any

from clearwell.backfill.plan import OffsetRange
from clearwell.errors import Retryable
from clearwell.kafka.log_client import RangeReader

SILENCE = 60.0
"""Seconds without an event after which Kafka is taken to be gone."""


class ChunkReader:
    """Reads one topic. A range that begins where the last one ended goes on without asking Kafka again."""

    def __init__(self, log: RangeReader, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._batches: Any = None
        self._rest: list[Any] = []
        self._next = (-1, -1)

    async def read(self, chunk: OffsetRange, ahead: int) -> AsyncIterator[list[Any]]:
        """Records of `chunk`, as far as retention still has them, in batches that never are empty.

        Offsets up to `ahead` may be fetched. Raises Retryable when Kafka falls silent.
        """
        if self._next != (chunk.partition, chunk.first):
            await self._open(chunk, ahead)
        while not self._rest or self._rest[0].offset < chunk.end:
            records = self._rest or await self._fetch()
            if not records:
                break
            cut = bisect_left(records, chunk.end, key=lambda record: record.offset)
            self._rest = records[cut:]
            if cut:  # a batch may begin after the range: then the range is read, and this was fetched ahead
                yield records[:cut]
        self._next = (chunk.partition, chunk.end)

    async def _open(self, chunk: OffsetRange, ahead: int) -> None:
        if self._batches is not None:
            await self._batches.aclose()
        self._rest = []
        self._batches = self._log.records(self._topic, chunk.partition, chunk.first, max(ahead, chunk.end))

    async def _fetch(self) -> list[Any]:
        try:
            async with asyncio.timeout(SILENCE):
                return list(await anext(self._batches, []))
        except TimeoutError:
            raise Retryable(
                f"Kafka gave no event of {self._topic} for {SILENCE:.0f} s: run it again when it is well, "
                "it goes on where it was."
            ) from None

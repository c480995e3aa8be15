"""Raw events of consecutive ranges, read from Kafka once: what was fetched beyond a range is kept for the next."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from typing import Any

from clearwell.errors import Retryable
from clearwell.kafka.range_reader import RangeReader
from services.backfill.plan import Range

SILENCE = 60.0
"""Seconds without an event after which Kafka is taken to be gone."""


class Source:
    """Reads one topic. A range that begins where the last one ended goes on without asking Kafka again."""

    def __init__(self, log: RangeReader, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._slices: Any = None
        self._rest: list[Any] = []
        self._stands = (-1, -1)

    async def read(self, wanted: Range, ahead: int) -> AsyncIterator[list[Any]]:
        """Records of `wanted`, as far as retention still has them, in slices that never are empty.

        Offsets up to `ahead` may be fetched. Raises Retryable when Kafka falls silent.
        """
        if self._stands != (wanted.partition, wanted.first):
            await self._open(wanted, ahead)
        while not self._rest or self._rest[0].offset < wanted.end:
            records = self._rest or await self._next()
            if not records:
                break
            cut = bisect_left(records, wanted.end, key=lambda record: record.offset)
            self._rest = records[cut:]
            if cut:  # a slice may begin after the range: then the range is read, and this was fetched ahead
                yield records[:cut]
        self._stands = (wanted.partition, wanted.end)

    async def _open(self, wanted: Range, ahead: int) -> None:
        if self._slices is not None:
            await self._slices.aclose()
        self._rest = []
        self._slices = self._log.records(self._topic, wanted.partition, wanted.first, max(ahead, wanted.end))

    async def _next(self) -> list[Any]:
        try:
            async with asyncio.timeout(SILENCE):
                return list(await anext(self._slices, []))
        except TimeoutError:
            raise Retryable(
                f"Kafka gave no event of {self._topic} for {SILENCE:.0f} s: run it again when it is well, "
                "it goes on where it was."
            ) from None

"""Reads the near past of a stream's topics, so that state lives in the log and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import dead_topic, raw_topic
from clearwell.records import clean, dead_letter
from clearwell.records.dead_letter import DeadLetter

DEAD_LETTERS = 4
"""How many dead letters are read for each offset of a window; one further back is forgotten: it delays a stop."""

CLEANED = 1_000
"""How many clean records tell how far a cleaner came whose group Kafka has forgotten."""


class RecentHistory:
    """Bounded reads of raw and dead topics, outside any consumer group."""

    def __init__(self, client: LogClient, stream: str) -> None:
        self._client = client
        self._stream = stream

    async def raw(self, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        """Records of raw events in [start, end), as far as retention still has them, in slices."""
        if end > 0:
            async with self._client.reader() as log:
                async for records in log.records(raw_topic(self._stream), partition, start, end):
                    yield records

    async def cleaned_before(self, partition: int, topic_id: str, clean_topic: str, before: int) -> int | None:
        """The raw offset after the newest event below `before` that the last clean records tell of.

        None where they tell of none of this raw incarnation.
        """
        async with self._client.reader() as log:
            last = await log.end(clean_topic, partition)
            newest = None
            async for records in log.records(clean_topic, partition, last - CLEANED, last):
                for of, offset in zip(*clean.raw_identities(records), strict=True):
                    if of == topic_id and offset < before:
                        newest = max(offset, newest or 0)
        return None if newest is None else newest + 1

    async def rejected(self, partition: int, topic_id: str, start: int, end: int) -> list[tuple[int, str]]:
        """Raw offsets in [start, end) of one raw incarnation whose event was rejected, sorted, and who sent it."""
        connectors: dict[int, str] = {}

        def rejected(letter: DeadLetter) -> int | None:
            if letter.destination or letter.origin_topic_id != topic_id:
                return None
            connectors[letter.raw_offset] = letter.connector
            return letter.raw_offset

        return [(offset, connectors[offset]) for offset in await self._offsets(partition, start, end, rejected)]

    async def refused_offsets(self, destination: str, partition: int, topic_id: str, start: int, end: int) -> list[int]:
        """Clean offsets in [start, end) of one clean incarnation whose event a destination refused, sorted."""

        def refused(letter: DeadLetter) -> int | None:
            ours = (letter.destination, letter.clean_topic_id) == (destination, topic_id)
            return letter.clean_offset if ours else None

        return await self._offsets(partition, start, end, refused)

    async def _offsets(
        self, partition: int, start: int, end: int, offset_of: Callable[[DeadLetter], int | None]
    ) -> list[int]:
        """What `offset_of` gives of the newest dead letters, inside [start, end).

        Looks at DEAD_LETTERS of them for each offset: duplicates after a crash, and those of several destinations, can
        multiply them.
        """
        if end <= 0:  # nothing is before the beginning: a connection less
            return []
        topic = dead_topic(self._stream)
        offsets: set[int | None] = set()
        async with self._client.reader() as log:
            last = await log.end(topic, partition)
            async for records in log.records(topic, partition, last - DEAD_LETTERS * (end - start), last):
                offsets.update(map(offset_of, dead_letter.known(records)))
        return sorted(offset for offset in offsets if offset is not None and start <= offset < end)

"""From when to when the events of raw came in: what a range of time can be of."""

from __future__ import annotations

from datetime import UTC, datetime

from clearwell.kafka import admin
from clearwell.kafka.range_reader import reader
from clearwell.settings import Settings

Arrivals = tuple[datetime, datetime]


async def read_arrivals(settings: Settings, topic: str) -> Arrivals | None:
    """When the oldest and the newest event that are there were taken in by Kafka; None: there is none.

    Raises Retryable when Kafka does not answer.
    """
    begins, ends = admin.begin_offsets(settings.kafka, topic), admin.end_offsets(settings.kafka, topic)
    stamps: list[int] = []
    async with reader(settings.kafka) as log:
        for partition in begins:
            for first in {begins[partition], ends[partition] - 1}:
                async for records in log.records(topic, partition, first, first + 1):
                    stamps += [record.timestamp for record in records]
    if not stamps:
        return None
    return datetime.fromtimestamp(min(stamps) / 1000, UTC), datetime.fromtimestamp(max(stamps) / 1000, UTC)

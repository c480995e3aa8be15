"""Does an archive hold every raw event, once? Compared with the raw topic, as far as retention still has it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from clearwell.accounts.ledger import CLEAN, Ledger
from clearwell.destinations.lake.archive import archive_place
from clearwell.destinations.lake.root import Root
from clearwell.destinations.lake.tables import opened, query
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.kafka import admin
from clearwell.kafka.bounded import Reader, reader
from clearwell.kafka.names import archive_group, raw_topic
from clearwell.settings import Settings


@dataclass(frozen=True, slots=True)
class PartitionArchive:
    """One partition of the raw topic, offsets [first, next) that it still has and the archive has passed.

    `missing` are events there that the archive lacks, `doubled` those it has twice: both must be 0. `older` are
    archived events that the topic has no more, `waiting` offsets of the topic that the archive has not come to.
    """

    partition: int
    first: int
    next: int
    archived: int
    missing: int
    doubled: int
    older: int
    waiting: int

    @property
    def balanced(self) -> bool:
        """Each event once."""
        return self.missing == 0 and self.doubled == 0


def check_archive(settings: Settings, root: Root, stream: str, to: str) -> list[PartitionArchive]:
    """One entry a partition. Blocks. Raises Retryable or ConfigError, as when there is no such archive."""
    return asyncio.run(_check(settings, root, stream, to))


async def _check(settings: Settings, root: Root, stream: str, to: str) -> list[PartitionArchive]:
    topic = raw_topic(stream)
    topic_id = admin.topic_id(settings.kafka, topic)
    place = archive_place(root, stream)
    table = opened(place)
    found = []
    async with reader(settings.kafka) as log:
        for partition in range(admin.partition_count(settings.kafka, topic)):
            position = table.transaction_version(f"{archive_group(stream, to)}/{topic_id}/{partition}") or 0
            where = f"{RAW_TOPIC} = '{topic_id}' AND {RAW_PARTITION} = {partition}"
            rows = query(place, table, f"SELECT {RAW_OFFSET} FROM t WHERE {where}")  # noqa: S608 - our own names
            found.append(await _partition(log, topic, partition, position, rows.column(0).to_pylist()))
    return found


async def _partition(log: Reader, topic: str, partition: int, position: int, offsets: list[int]) -> PartitionArchive:
    first, end = await log.begin(topic, partition), await log.end(topic, partition)
    ledger = Ledger(first, max(first, position))
    ledger.note(CLEAN, offsets)
    lacking, missing = set(ledger.unaccounted()), 0
    if lacking:  # a log may have holes: ask it
        async for records in log.records(topic, partition, min(lacking), max(lacking) + 1):
            missing += sum(one.offset in lacking for one in records)
    return PartitionArchive(
        partition=partition,
        first=first,
        next=ledger.next,
        archived=len(offsets),
        missing=missing,
        doubled=len(offsets) - len(set(offsets)),
        older=sum(one < first for one in offsets),
        waiting=max(0, end - position),
    )

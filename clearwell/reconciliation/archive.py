"""Does an archive hold every raw event, once? Compared with the raw topic, as far as retention still has it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from clearwell.destinations.lake.archive import archive_place
from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.destinations.lake.tables import open_table, query
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.kafka.log_client import LogClient, RangeReader
from clearwell.kafka.names import archive_group, raw_topic
from clearwell.reconciliation.offset_ledger import CLEAN, Ledger
from clearwell.worker.positions import CommitNote


@dataclass(frozen=True, slots=True)
class PartitionArchive:
    """One partition of the raw topic, offsets [first, next) that it still has and the archive has passed.

    `missing` are events there that the archive lacks, `doubled` those it has twice: both must be 0. `older` are
    archived events that retention has removed from the topic, `waiting` offsets of the topic that the archive has not
    come to. `outlived` are archived events of a log that has lost its end since (`kafka/lineage.py`): other events have
    their offsets now, and are archived under another origin.
    """

    partition: int
    first: int
    next: int
    archived: int
    missing: int
    doubled: int
    older: int
    waiting: int
    outlived: int

    @property
    def balanced(self) -> bool:
        """Each event once."""
        return self.missing == 0 and self.doubled == 0


def check_archive(log: LogClient, root: Root, stream: str, to: str) -> list[PartitionArchive]:
    """One entry a partition. Blocks. Raises Retryable or ConfigError, as when there is no such archive."""
    return asyncio.run(_check(log, root, stream, to))


async def _check(client: LogClient, root: Root, stream: str, to: str) -> list[PartitionArchive]:
    topic, group = raw_topic(stream), archive_group(stream, to)
    topic_id = str(client.topic_now(topic))
    table = ArchivedOffsets(archive_place(root, stream), group)
    known = {at: CommitNote.read(text) for at, (_, text) in client.committed(group, topic).items()}
    partitions = sorted(client.begin_offsets(topic))
    notes = [known[at] if at in known and known[at].topic_id == topic_id else CommitNote(topic_id) for at in partitions]
    async with client.reader() as log:
        return [await check_partition(log, topic, partition, table, notes[partition]) for partition in partitions]


class ArchivedOffsets:
    """What an archive, written for one consumer group, holds of a raw topic. Blocks; raises as its table does."""

    def __init__(self, location: TableLocation, group: str) -> None:
        self._place = location
        self._group = group
        self._table = open_table(location)

    def next_offset(self, origin: str, partition: int) -> int:
        """How far it has come; 0 where it never saw this origin."""
        return self._table.transaction_version(f"{self._group}/{origin}/{partition}") or 0

    def offsets(self, origin: str, partition: int) -> list[int]:
        """Of its events."""
        condition = f"{RAW_TOPIC} = '{origin}' AND {RAW_PARTITION} = {partition}"
        rows = query(self._place, self._table, f"SELECT {RAW_OFFSET} FROM t WHERE {condition}")  # noqa: S608 - our own
        return [int(offset) for offset in rows.column(0).to_pylist()]


async def check_partition(
    log: RangeReader, topic: str, partition: int, archive: ArchivedOffsets, note: CommitNote
) -> PartitionArchive:
    """One entry. `note` tells the origins that events have since the log lost its end, as the archiver goes by it."""
    first, end = await log.begin(topic, partition), await log.end(topic, partition)
    starts = {note.topic_id: 0, **dict(note.branches)}
    position = max(archive.next_offset(note.origin, partition), starts[note.origin])
    held = [(origin, offset) for origin in starts for offset in archive.offsets(origin, partition)]
    offsets = [offset for origin, offset in held if note.origin_at(offset) == origin]
    ledger = Ledger(first, max(first, position))
    ledger.note(CLEAN, offsets)
    lacking, missing = set(ledger.unaccounted()), 0
    if lacking:  # a log may have holes: ask it
        async for records in log.records(topic, partition, min(lacking), max(lacking) + 1):
            missing += sum(record.offset in lacking for record in records)
    return PartitionArchive(
        partition=partition,
        first=first,
        next=ledger.next,
        archived=len(offsets),
        missing=missing,
        doubled=len(offsets) - len(set(offsets)),
        older=sum(offset < first for offset in offsets),
        waiting=max(0, end - position),
        outlived=len(held) - len(offsets),
    )

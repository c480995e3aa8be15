"""Raw batches in, sealed events out: acknowledged when the archive has them (invariant 2)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from clearwell.destinations.lake.archive import Archive, RawRange, archive_place
from clearwell.destinations.lake.root import Root
from clearwell.destinations.lake.upkeep import CommitPace
from clearwell.kafka.lineage import way_out
from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import raw_topic
from clearwell.privacy.keyring import Keyring
from clearwell.worker.archive_positions import ArchivePositions
from clearwell.worker.archive_writer import ArchiveWriter
from clearwell.worker.gaps import Gaps
from clearwell.worker.loss_notes import LossNotes
from clearwell.worker.partition_processor import FetchedBatch
from clearwell.worker.topic_identity import TopicIdentity

log = logging.getLogger(__name__)


async def open_archiver(
    client: LogClient, stream: str, group: str, root: Root, keyring: Keyring, note_loss: LossNotes
) -> Archiver:
    """An archiver of `stream` below `root`, whose archive is there. Raises ClearwellError where it can't be."""
    pace, topic = CommitPace.of(), raw_topic(stream)
    writer = ArchiveWriter(Archive(archive_place(root, stream), stream, keyring, group, pace), pace.seconds)
    try:
        await writer.open()
    except BaseException:
        writer.close()
        raise
    identity = TopicIdentity.of(client, topic, way_out(stream))
    gaps = Gaps(client, topic, group, note_loss)
    return Archiver(writer, ArchivePositions(writer, identity), identity, gaps)


class Archiver:
    """Archives one stream; see `clearwell.worker.partition_processor.BatchWork` for how it is driven."""

    def __init__(self, writer: ArchiveWriter, positions: ArchivePositions, identity: TopicIdentity, gaps: Gaps) -> None:
        self._writer = writer
        self.positions = positions
        self.identity = identity
        self._gaps = gaps
        self._next: dict[int, int] = {}

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """Go on from what the archive holds."""
        known = self.positions.starts[partition]
        self._next[partition] = known
        log.info("partition %d starts at offset %d (generation %d)", partition, known, generation)
        await self.skip(partition, known, first)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        """What was gone before it was read is told."""
        await self._gaps.look(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        """Queue one batch; it begins where the last one ended, since a log may have holes."""
        await self.identity.confirm()  # invariant 3
        topic_id = self.positions.origin(fetched.partition)
        first, end = self._next[fetched.partition], fetched.last + 1
        self._next[fetched.partition] = max(first, end)
        return self._writer.write(RawRange(topic_id, fetched.partition, first, end, list(fetched.records)))

    def close(self) -> None:
        """What is queued is not written any more."""
        self._writer.close()

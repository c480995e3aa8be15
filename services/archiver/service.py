"""Raw slices in, sealed events out: acknowledged when the archive has them (invariant 2)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from clearwell.destinations.lake.archive import RawPiece
from clearwell.kafka.identity import TopicIdentity
from clearwell.kafka.lanes import Slice
from services.archiver.positions import ArchivePositions
from services.archiver.writer import ArchiveWriter

log = logging.getLogger(__name__)


class Archiver:
    """Archives one stream; see `clearwell.kafka.lanes.SliceWork` for how it is driven."""

    def __init__(self, writer: ArchiveWriter, positions: ArchivePositions, identity: TopicIdentity) -> None:
        self._writer = writer
        self._positions = positions
        self._identity = identity
        self._next: dict[int, int] = {}

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """Go on from what the archive holds."""
        known = self._positions.starts[partition]
        if first > known:
            log.warning("partition %d: raw offsets %d to %d are gone (retention)", partition, known, first - 1)
        self._next[partition] = known
        log.info("partition %d starts at offset %d (generation %d)", partition, known, generation)

    async def handle(self, piece: Slice) -> Awaitable[None]:
        """Queue one slice; it begins where the last one ended, since a log may have holes."""
        topic_id = await self._identity.confirm()  # invariant 3
        first, end = self._next[piece.partition], piece.last + 1
        self._next[piece.partition] = max(first, end)
        return self._writer.write(RawPiece(topic_id, piece.partition, first, end, list(piece.records)))

"""Where raw partitions start when the archive is the truth."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.kafka.identity import TopicIdentity
from clearwell.kafka.transport import Commit
from services.archiver.writer import ArchiveWriter


class ArchivePositions:
    """Partitions start where the archive says, whatever the group committed (invariant 4)."""

    def __init__(self, writer: ArchiveWriter, identity: TopicIdentity) -> None:
        self._writer = writer
        self._identity = identity
        self.starts: dict[int, int] = {}

    async def start(
        self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int, commit: Commit
    ) -> Mapping[TP, int]:
        """See `clearwell.kafka.transport.Positions`."""
        topic_id = await self._identity.refresh()
        for tp in committed:
            self.starts[tp.partition] = await self._writer.next_offset(topic_id, tp.partition)
        return {tp: self.starts[tp.partition] for tp in committed}

    def metadata(self, tp: TP) -> str:
        """The topic's id."""
        return self._identity.id

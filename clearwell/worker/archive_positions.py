"""Where raw partitions start when the archive is the truth."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.kafka.lineage import Point
from clearwell.worker.archive_writer import ArchiveWriter
from clearwell.worker.positions import GroupPositions
from clearwell.worker.topic_identity import TopicIdentity
from clearwell.worker.transport import Commit


class ArchivePositions(GroupPositions):
    """Partitions start where the archive says, whatever the group committed (invariant 4).

    The group's commits tell under which leader epoch it came so far, and which origin events have since a log parted.
    """

    def __init__(self, writer: ArchiveWriter, identity: TopicIdentity) -> None:
        super().__init__(identity)
        self._writer = writer
        self.starts: dict[int, int] = {}

    async def start(
        self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int, commit: Commit
    ) -> Mapping[TP, int]:
        """See `clearwell.worker.transport.Positions`."""
        await super().start(committed, generation, commit)
        for tp in committed:
            archived = await self._writer.next_offset(self.origin(tp.partition), tp.partition)
            self.starts[tp.partition] = max(archived, self.branched_at(tp.partition))
        ahead = {at: Point(start) for at, start in self.starts.items() if start > (self.known[at] or 0)}
        if ahead:  # what it has archived last, it had not committed yet
            await self.identity.resume(self.points | ahead)
        return {tp: self.starts[tp.partition] for tp in committed}

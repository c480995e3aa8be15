"""Where partitions start when the consumer group is the truth (the cleaner)."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.kafka.identity import TopicIdentity
from clearwell.kafka.transport import Commit


class GroupPositions:
    """The group's committed offset, if it was committed for this incarnation of the topic; else the beginning.

    The topic's id is stored beside each offset, so a commit that was under way while the topic was recreated can't make
    the new one start in its middle (invariant 3).
    """

    def __init__(self, identity: TopicIdentity) -> None:
        self._identity = identity
        self.known: dict[int, int | None] = {}
        """By partition, where the group stood when it was assigned; None: it had committed nothing for this topic."""

    async def start(
        self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int, commit: Commit
    ) -> Mapping[TP, int]:
        """See `clearwell.kafka.transport.Positions`."""
        topic_id = await self._identity.refresh()
        ours = {tp: known for tp, known in committed.items() if known is not None and known.metadata == topic_id}
        self.known = {tp.partition: ours[tp].offset if tp in ours else None for tp in committed}
        return {tp: self.known[tp.partition] or 0 for tp in committed}

    def metadata(self, tp: TP) -> str:
        """The topic's id."""
        return self._identity.id

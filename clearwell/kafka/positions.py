"""Where partitions start when the consumer group is the truth (the cleaner)."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.kafka.identity import TopicIdentity


class GroupPositions:
    """The group's committed offset, if it was committed for this incarnation of the topic; else the beginning.

    The topic's id is stored beside each offset, so a commit that was under way while the topic was recreated can't make
    the new one start in its middle (invariant 3).
    """

    def __init__(self, identity: TopicIdentity) -> None:
        self._identity = identity

    async def start(self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int) -> Mapping[TP, int]:
        """See `clearwell.kafka.transport.Positions`."""
        topic_id = await self._identity.refresh()
        return {
            tp: known.offset if known is not None and known.metadata == topic_id else 0
            for tp, known in committed.items()
        }

    def metadata(self, tp: TP) -> str:
        """The topic's id."""
        return self._identity.id

"""Where partitions start when the store is the truth."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.destinations.protocol import Claim
from clearwell.kafka.identity import TopicIdentity
from services.deliverer.store import Store


class StorePositions:
    """Partitions start where the store says, whatever the group committed (invariant 4)."""

    def __init__(self, store: Store, identity: TopicIdentity) -> None:
        self._store = store
        self._identity = identity
        self._generations: dict[int, tuple[str, int]] = {}
        self.claims: dict[int, Claim] = {}

    async def start(self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int) -> Mapping[TP, int]:
        """See `clearwell.kafka.transport.Positions`. A partition is claimed once a generation."""
        topic_id = await self._identity.refresh()
        for tp in committed:
            if self._generations.get(tp.partition) != (topic_id, generation):
                self.claims[tp.partition] = await self._claim(topic_id, tp.partition, generation)
                self._generations[tp.partition] = (topic_id, generation)
        return {tp: self.claims[tp.partition].next_offset for tp in committed}

    def metadata(self, tp: TP) -> str:
        """The topic's id."""
        return self._identity.id

    async def _claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        return await self._store.call(lambda: self._store.destination.claim(topic_id, partition, generation))

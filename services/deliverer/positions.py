"""Where partitions start when the store is the truth."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.destinations.protocol import Claim
from clearwell.errors import Fatal
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

    async def require_not_set_back(self) -> None:
        """Raise Fatal when a replay has set the store's position back behind what this process has delivered."""
        if not self.claims:
            return
        topic_id = self._identity.id
        for found in await self._store.call(lambda: self._store.destination.accounts(topic_id)):
            claim = self.claims.get(found.partition)
            if claim is not None and found.next_offset < claim.next_offset:  # ahead: a write whose end we have not seen
                raise Fatal(
                    f"Partition {found.partition} was set back from offset {claim.next_offset} to {found.next_offset}: "
                    "this process ends, so that the next one delivers from there."
                )

    async def _claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        return await self._store.call(lambda: self._store.destination.claim(topic_id, partition, generation))

"""Where partitions start when the store is the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.destinations.fencing import claim_number
from clearwell.destinations.protocol import Claim
from clearwell.kafka.lineage import Point
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.topic_identity import TopicIdentity
from clearwell.worker.transport import Commit


class DestinationPositions:
    """Partitions start where the store says, whatever the group committed (invariant 4)."""

    def __init__(self, store: DestinationThread, identity: TopicIdentity, now: Callable[[], float] = time.time) -> None:
        """`now` gives Unix seconds."""
        self._store = store
        self.identity = identity
        self._now = now
        self._claimed: dict[int, tuple[str, int]] = {}
        self._incarnations: dict[int, int] = {}
        self.claims: dict[int, Claim] = {}

    async def start(
        self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int, commit: Commit
    ) -> Mapping[TP, int]:
        """See `clearwell.worker.transport.Positions`. A partition is claimed once a generation."""
        topic_id = await self.identity.refresh()
        if not await self._know_incarnations(committed, commit):
            self.claims.clear()  # a later generation has begun, and begins with what we are given then
            return dict.fromkeys(committed, 0)
        for tp in committed:
            claimed = claim_number(self._incarnations[tp.partition], generation)
            if self._claimed.get(tp.partition) != (topic_id, claimed):
                self.claims[tp.partition] = await self._claim(topic_id, tp.partition, claimed)
                self._claimed[tp.partition] = (topic_id, claimed)
        claims = {tp.partition: self.claims[tp.partition] for tp in committed}
        await self.identity.resume(
            {at: Point.of(claim.next_offset, claim.high_watermarks) for at, claim in claims.items()}
        )
        return {tp: claims[tp.partition].next_offset for tp in committed}

    def metadata(self, tp: TP) -> str:
        """The topic's id, and the group's incarnation."""
        return f"{self.identity.id} {self._incarnations[tp.partition]}"

    async def _know_incarnations(self, committed: Mapping[TP, OffsetAndMetadata | None], commit: Commit) -> bool:
        """Learn which incarnation of the group each partition belongs to; False when we are no member of it any more.

        Kafka forgets an empty group after a week, and numbers the generations of the next one from 1 again. One that
        has committed nothing is new: it gets a later number, and commits that before it claims anything. Kafka takes
        that commit from the group's present generation alone, so that all later members count on from it, and who is
        late still has the older number (invariant 4).
        """
        fresh = round(self._now()) - _EPOCH
        self._incarnations = {tp.partition: _incarnation_of(known, fresh) for tp, known in committed.items()}
        new = [tp for tp, known in committed.items() if known is None]
        return not new or await commit({tp: OffsetAndMetadata(0, self.metadata(tp)) for tp in new})

    async def _claim(self, topic_id: str, partition: int, number: int) -> Claim:
        return await self._store.call(lambda: self._store.destination.claim(topic_id, partition, number))


_EPOCH = 1_577_836_800  # 2020-01-01, in Unix seconds: a number of an incarnation fits 31 bits


def _incarnation_of(known: OffsetAndMetadata | None, fresh: int) -> int:
    """0 is that of groups which committed before there were incarnations, and of those that a person set."""
    if known is None:
        return fresh
    _, _, text = (known.metadata or "").partition(" ")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

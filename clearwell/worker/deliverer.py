"""Clean batches in, rows of one destination out: repeats removed, in order, acknowledged when the store has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from typing import Any

from clearwell.contract.model import Contract, Route
from clearwell.destinations.protocol import Claim, CleanBatch, Inspectable
from clearwell.errors import ConfigError, Retryable
from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import clean_topic, deliverer_group, raw_topic
from clearwell.kafka.shared_question import SharedQuestion
from clearwell.pipeline.clean import CleanCodec
from clearwell.privacy.keyring import Keyring
from clearwell.records.clean_reader import CleanReader, CleanRecords
from clearwell.records.duplicates import Duplicates
from clearwell.records.origins import Origins, warn_of_forged
from clearwell.records.recent_history import RecentHistory
from clearwell.steps import bind
from clearwell.worker.destination_positions import DestinationPositions
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.destination_writer import Writer
from clearwell.worker.gaps import Gaps, NoteLoss
from clearwell.worker.job import GetProducer
from clearwell.worker.partition_processor import FetchedBatch
from clearwell.worker.refused_rows import RefusedRows
from clearwell.worker.topic_identity import TopicIdentity

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Partition:
    """What is known of one partition: the next clean offset to take, and which raw events have been seen."""

    next: int
    reader: CleanReader


class Deliverer:
    """Delivers one stream to one store; see `clearwell.worker.partition_processor.BatchWork` for how it is driven."""

    def __init__(
        self,
        writer: Writer,
        refused: RefusedRows,
        positions: DestinationPositions,
        origins: Origins,
        gaps: Gaps,
        codec: CleanCodec,
        wants: Callable[[tuple[Any, ...]], bool] | None,
    ) -> None:
        """`wants` is the route's `when`; None means every event."""
        self._writer = writer
        self._refused = refused
        self.positions = positions
        self.identity = positions.identity
        self._origins = origins
        self._raw_question = SharedQuestion(partial(asyncio.to_thread, origins.refresh))
        self._gaps = gaps
        self._codec = codec
        self._wants = wants
        self._partitions: dict[int, _Partition] = {}

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """Go on from what the store has made durable."""
        claim = self.positions.claims.get(partition)
        if claim is None:  # the group is being formed anew: this agent ends when its partition is given out again
            raise Retryable(f"Partition {partition} is being given out anew.")
        await self._refused.begin(partition, self.identity.id, claim.next_offset)
        reader = CleanReader(partition, self._origins, Duplicates(claim.high_watermarks))
        self._partitions[partition] = _Partition(claim.next_offset, reader)
        log.info("partition %d starts at offset %d (generation %d)", partition, claim.next_offset, generation)
        await self.skip(partition, claim.next_offset, first)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        """What was gone before it was read is told; the balance knows it by the store's counters."""
        await self._gaps.look(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        """Decode one batch and queue its write."""
        topic_id = await self.identity.confirm()
        known, records = self._partitions[fetched.partition], fetched.records
        if fetched.first < known.next:
            records = [record for record in records if record.offset >= known.next]
        new = await known.reader.take_asking(records, self._raw_question.ask)
        if new.forged:
            warn_of_forged(self.identity.topic, fetched.partition, new.forged)
        batch = self._batch(topic_id, fetched, new)
        return self._durable(self._writer.write(batch), batch)

    def _batch(self, topic_id: str, fetched: FetchedBatch, new: CleanRecords) -> CleanBatch:
        known, time = self._partitions[fetched.partition], fetched.records[-1].timestamp
        rows = self._codec.decode([record.value for record in new.records])
        unrouted: list[int] = []
        if self._wants is not None:
            wants = [self._wants(row) for row in rows]
            unrouted = new.offsets_without(wants)
            new, rows = new.only(wants), list(compress(rows, wants))
        known.next = max(known.next, fetched.last + 1)
        return CleanBatch(
            topic_id=topic_id,
            partition=fetched.partition,
            next_offset=known.next,
            epoch=self.positions.claims[fetched.partition].epoch,
            rows=rows,
            values=[record.value for record in new.records],
            offsets=[record.offset for record in new.records],
            raw_topics=new.raw_topics,
            raw_offsets=new.raw_offsets,
            high_watermarks=self._high_watermarks(fetched.partition, known, time),
            unrouted=unrouted,
            repeats=sorted([*new.forged, *new.duplicates]),  # passed over alike
        )

    def _high_watermarks(self, partition: int, known: _Partition, time: int) -> dict[str, int]:
        """What the store keeps beside the position: what was seen, and under which leader epoch (see `lineage.py`)."""
        high_watermarks, lineage = dict(known.reader.high_watermarks), self.identity.lineage
        if lineage is not None:
            high_watermarks |= replace(lineage.point(partition), time=time).high_watermarks
        return high_watermarks

    async def _durable(self, written: asyncio.Future[None], batch: CleanBatch) -> None:
        await written
        self.positions.claims[batch.partition] = Claim(batch.epoch, batch.next_offset, batch.high_watermarks)


async def open_deliverer(
    client: LogClient,
    contract: Contract,
    route: Route,
    keyring: Keyring,
    store: DestinationThread,
    note_loss: NoteLoss,
    producer: GetProducer,
    tell: Callable[[str], None] = lambda _: None,
) -> Deliverer:
    """The deliverer of one route, and its destination opened; `tell` hears of a loss as a sentence.

    To be awaited inside the event loop. Raises ConfigError when anything it needs is missing (invariant 6).
    """
    schema, topic = bind(contract).schema, clean_topic(contract.stream, contract.version)
    identity = TopicIdentity.of(client, topic, partial(_way_out, contract, route))
    await require_table(store, identity, route.to)
    await store.call(store.destination.open)
    refused = RefusedRows(route.to, contract, keyring, RecentHistory(client, contract.stream), producer)
    gaps = Gaps(client, topic, deliverer_group(contract.stream, contract.version, route.to), note_loss, tell)
    return Deliverer(
        Writer(store, refused.dead_letter),
        refused,
        DestinationPositions(store, identity),
        Origins(partial(client.id_and_ends, raw_topic(contract.stream))),
        gaps,
        CleanCodec(schema),
        route.wants(schema),
    )


async def require_table(store: DestinationThread, identity: TopicIdentity, to: str) -> None:
    """Raise ConfigError when what held the delivered events is gone: a new one would lack them, and nobody be told."""
    destination = store.destination
    if not isinstance(destination, Inspectable) or await store.call(destination.is_there):
        return
    topic_id = await identity.refresh()
    delivered = sum(account.delivered for account in await store.call(lambda: destination.accounts(topic_id)))
    if delivered:
        raise ConfigError(
            f"The table of {to} is gone, and with it {delivered:,} events that were delivered into it: put it back, or "
            f"fill a new one by `clearwell destination pause {to}`, `clearwell destination replay {to} --from earliest`"
            f" and `clearwell destination resume {to}`."
        )


def _way_out(contract: Contract, route: Route, partition: int, end: int) -> str:
    """Where the clean log has parted from what a destination was given."""
    return (
        f"{route.to} keeps what it has. While it is paused, `clearwell destination replay {route.to} --stream "
        f"{contract.stream} --from {partition}:{end}` lets it go on from where the two part."
    )

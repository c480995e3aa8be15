"""Raw batches in; clean records, dead letters and the account of drops out; acknowledged when all is durable."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError

from clearwell.errors import Retryable
from clearwell.kafka.lineage import way_out
from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import clean_topic, cleaner_group, dead_topic, dropped_topic, raw_topic
from clearwell.metrics.metric import reason_of
from clearwell.pipeline.batch import Outcomes, RawBatch, Rejected
from clearwell.pipeline.compiler import Pipeline, PipelineState
from clearwell.privacy.keyring import Keyring
from clearwell.records import clean, dead_letter, dropped
from clearwell.records.cloudevents import connector_of
from clearwell.records.raw import raw_batch
from clearwell.records.recent_history import RecentHistory
from clearwell.worker.batch_watch import BatchWatch
from clearwell.worker.gaps import Gaps, NoteLoss
from clearwell.worker.job import GetProducer
from clearwell.worker.job_meters import JobMeter
from clearwell.worker.partition_processor import FetchedBatch
from clearwell.worker.positions import GroupPositions
from clearwell.worker.rejection_limit import RejectedEvent, RejectionCounter, TooManyRejected
from clearwell.worker.topic_identity import TopicIdentity

log = logging.getLogger(__name__)

TOO_MANY = (
    "rejected. Look at the dead letters, then fix the source or the contract (or its `limits`), and start the cleaner "
    "again, or resume the connector that was stopped"
)
"""What the stop rule says."""


StopConnector = Callable[[str, str], Awaitable[bool]]
"""Has a connector read no more, for a reason; whether that is enough, so that the stream may go on."""


class Cleaner:
    """Cleans one stream; `clearwell.worker.partition_processor.BatchWork` says how it is driven."""

    def __init__(
        self,
        pipeline: Pipeline,
        keyring: Keyring,
        positions: GroupPositions,
        gaps: Gaps,
        tail: RecentHistory,
        stop_connector: StopConnector,
        producer: GetProducer,
        meter: JobMeter | None = None,
    ) -> None:
        """`meter` counts where the events end."""
        contract = pipeline.contract
        self._pipeline = pipeline
        self.identity = positions.identity
        self.positions = positions
        self._gaps = gaps
        self._tail = tail
        self._stop_connector = stop_connector
        self._producer = producer
        self._meter = meter
        self._dead_letters = dead_letter.DeadLetterWriter(contract, keyring)
        self._clean_topic = clean_topic(contract.stream, contract.version)
        self._raw_topic = raw_topic(contract.stream)
        self.watch = BatchWatch(cleaner_group(contract.stream, contract.version))
        self._dead_topic = dead_topic(contract.stream)
        self._dropped_topic = dropped_topic(contract.stream)
        self._schema = f"{contract.stream}/v{contract.version}"
        self._states: dict[int, PipelineState] = {}
        self._rules: dict[int, RejectionCounter] = {}

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """Rebuild what the steps remember, and the stop rule's window, from the tails of the log."""
        limits = self._pipeline.contract.limits
        origin = self.positions.origin(partition)
        rejected = await self._tail.rejected(partition, origin, first - limits.of_last, first)
        self._rules[partition] = RejectionCounter(limits, TOO_MANY, first, rejected)
        state = self._pipeline.new_state()
        if self._pipeline.lookback:
            async for records in self._tail.raw(partition, first - self._pipeline.lookback, first):
                with self.watch.during(self._raw_topic, partition, records[0].offset, records[-1].offset):
                    self._pipeline.process(raw_batch(origin, partition, records), state)
        self._states[partition] = state
        log.info("partition %d starts at offset %d (generation %d)", partition, first, generation)
        known = self.positions.known.get(partition)
        if known is None and first > 0:  # a new group, or one that Kafka has forgotten: what it has cleaned tells
            known = await self._tail.cleaned_before(partition, origin, self._clean_topic, first)
        if known is not None:
            await self.skip(partition, known, first)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        """What was gone before it was read is put on account, for no other record of it is left (invariant 5)."""
        end = await self._gaps.look(partition, expected, first)
        if end > expected:
            record = dropped.encode_lost(self.positions.origin(partition), expected, end)
            await self._durable(await self._producer().send_records(self._dropped_topic, partition, [record]))

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        """Clean one batch and hand what comes out to the producer, in order."""
        await self.identity.confirm()  # invariant 3
        batch = raw_batch(self.positions.origin(fetched.partition), fetched.partition, fetched.records)
        with self.watch.during(self._raw_topic, fetched.partition, fetched.first, fetched.last):
            outcomes = self._pipeline.process(batch, self._states[fetched.partition])
        senders = senders_of(fetched.records, outcomes.rejected)
        await self._count(fetched.partition, fetched.last, list(senders.items()))
        futures = await self._send(batch, outcomes, senders)
        return self._durable(futures) if self._meter is None else self._count_durable(futures, outcomes, self._meter)

    async def _count(self, partition: int, last: int, rejected: Sequence[RejectedEvent]) -> None:
        """Raise TooManyRejected where the stop rule says stop, and stopping one connector does not help."""
        while True:
            try:
                self._rules[partition].count(last, rejected)
                return
            except TooManyRejected as error:
                if not error.connector or not await self._stop_connector(error.connector, str(error)):
                    raise
                log.error("connector %s is stopped; the stream goes on. %s", error.connector, error)
                self._rules[partition].forgive(error.connector)

    async def _send(self, batch: RawBatch, out: Outcomes, senders: Mapping[int, str]) -> list[asyncio.Future[Any]]:
        producer, partition = self._producer(), batch.partition
        header = clean.Headers(batch.topic_id, partition, self._schema)
        records = list(zip(out.keys, out.values, header.encode_all(out.offsets), out.keys, strict=True))
        futures = await producer.send_records(self._clean_topic, partition, records)
        if out.rejected:
            letters = list(self._dead_letters.rejected(batch, out.rejected, senders))
            futures += await producer.send_records(self._dead_topic, partition, letters)
        if out.dropped:
            record = dropped.encode(batch.topic_id, out.dropped)
            futures += await producer.send_records(self._dropped_topic, partition, [record])
        return futures

    def _count_durable(self, futures: Sequence[asyncio.Future[Any]], out: Outcomes, meter: JobMeter) -> Awaitable[None]:
        kept, dropped = len(out.offsets), len(out.dropped)
        rejected = Counter(reason_of(event.step) for event in out.rejected)  # the events are not kept until then

        async def durable() -> None:
            await self._durable(futures)
            meter.cleaned(kept, dropped, rejected)

        return durable()

    async def _durable(self, futures: Sequence[asyncio.Future[Any]]) -> None:
        try:
            await asyncio.gather(*futures)
        except KafkaError as error:
            raise Retryable(
                f"Kafka did not take the cleaned events ({type(error).__name__}); reading them again."
            ) from None


def senders_of(records: Sequence[Any], rejected: Sequence[Rejected]) -> dict[int, str]:
    """By raw offset, the connector that each rejected event of fetched `records` (in offset order) came from."""
    senders = {}
    for event in rejected:
        record = records[bisect_left(records, event.offset, key=lambda record: record.offset)]
        senders[event.offset] = connector_of(record.headers)
    return senders


def open_cleaner(
    client: LogClient,
    pipeline: Pipeline,
    keyring: Keyring,
    stop_connector: StopConnector,
    note_loss: NoteLoss,
    producer: GetProducer,
    meter: JobMeter | None = None,
) -> Cleaner:
    """The cleaner of a stream's version. Raises Fatal when there is no key to seal with (invariant 6)."""
    stream, version = pipeline.contract.stream, pipeline.contract.version
    topic = raw_topic(stream)
    positions = GroupPositions(TopicIdentity.of(client, topic, way_out(stream)))
    gaps = Gaps(client, topic, cleaner_group(stream, version), note_loss)
    history = RecentHistory(client, stream)
    return Cleaner(pipeline, keyring, positions, gaps, history, stop_connector, producer, meter)

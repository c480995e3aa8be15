"""Produces a source's events: kafka-python's producer, fed a batch at a time, every batch's outcome checked.

`KafkaProducer.send` costs about 40 µs a record with CloudEvents headers. Here the records of one partition are written
at once (`clearwell.kafka.message_format`) and handed to kafka-python's accumulator, which keeps all that is hard:
compression, sequence numbers, retries, leaders, order. This touches private parts of kafka-python 3.0:
tests/unit/kafka/test_message_format.py fails when they change.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder

from clearwell.kafka.clients import connect
from clearwell.kafka.failures import as_ours, translated
from clearwell.kafka.message_format import Record, encode_records, partition_of, size

BATCH_BYTES = 1_000_000
"""A batch is closed at this size (uncompressed), unless one record alone is larger; below the topics' limit."""

DELIVERY_SECONDS = 30.0
"""How long kafka-python retries a batch by itself before it fails."""


class InFlightRecords:
    """Records on their way. Nothing is known of them until `wait` returns."""

    def __init__(self, bootstrap: str, topic: str, batches: list[ProducerBatch]) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._batches = batches

    def wait(self) -> None:
        """Return when Kafka has acknowledged every record on all in-sync replicas (invariant 1).

        Raises Retryable or ConfigError when any was not; some may then be in the topic all the same. After a failure
        the producer must be closed.
        """
        deadline = time.monotonic() + DELIVERY_SECONDS + 10
        for batch in self._batches:
            error = _outcome(batch, deadline)
            if error is not None:
                raise as_ours(error, self._bootstrap, f"writing to {self._topic}")


class Placing(InFlightRecords):
    """Records on their way into one partition."""

    def offsets(self) -> list[int]:
        """`wait`, and then the offset of each record, in their order."""
        self.wait()
        offsets: list[int] = []
        for batch in self._batches:
            first = batch.produce_future.value[0]
            offsets += range(first, first + batch.record_count)
        return offsets


def _outcome(batch: ProducerBatch, deadline: float) -> Exception | None:
    future = batch.produce_future
    future.wait(max(deadline - time.monotonic(), 0))
    error: Exception | None = None
    if not future.is_done:  # a latch without a result: the batch was split, which our sizes rule out
        error = KafkaTimeoutError("no outcome")
    elif (exception_of := future.value[2]) is not None:  # a batch's own future ends well even when the batch failed
        error = exception_of(0)
    return error


class EventProducer:
    """Writes batches of records to raw topics: acks=all, idempotent, zstd, in order within a partition.

    Thread-safe. One producer serves one connector, so that a failure of one never touches another.
    """

    def __init__(self, bootstrap: str, client_id: str) -> None:
        """Connects. Raises Retryable when Kafka does not answer within 5 seconds."""
        self._bootstrap = bootstrap
        self._kafka = connect(
            KafkaProducer,
            bootstrap,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            batch_size=BATCH_BYTES,
            max_request_size=8 * BATCH_BYTES,
            delivery_timeout_ms=int(DELIVERY_SECONDS * 1000),
            request_timeout_ms=10_000,
            max_block_ms=10_000,
            reconnect_backoff_max_ms=1_000,
            metrics_enabled=False,
        )

    def begin(self, topic: str, records: Sequence[Record]) -> InFlightRecords:
        """Hand records over and return at once; they go out in the order of the calls.

        Raises Retryable when the topic is not known.
        """
        doing = f"writing to {topic}"
        with translated(self._bootstrap, doing):
            count = len(self._kafka.partitions_for(topic))
            lanes: defaultdict[int, list[Record]] = defaultdict(list)
            for record in records:
                lanes[partition_of(record.place, count)].append(record)
            batches = [
                self._append(TopicPartition(topic, partition), chunk)
                for partition, lane in lanes.items()
                for chunk in _chunks(lane)
            ]
            self._kafka._sender.wakeup()
        return InFlightRecords(self._bootstrap, topic, batches)

    def begin_at(self, topic: str, partition: int, records: Sequence[Record]) -> Placing:
        """As `begin`, all of them into one partition, whatever their places say."""
        with translated(self._bootstrap, f"writing to {topic}"):
            self._kafka.partitions_for(topic)  # so that the leader is known
            batches = [self._append(TopicPartition(topic, partition), chunk) for chunk in _chunks(list(records))]
            self._kafka._sender.wakeup()
        return Placing(self._bootstrap, topic, batches)

    def send_batch(self, topic: str, records: Sequence[Record]) -> None:
        """Return when Kafka has acknowledged every record; raises as `begin` and `InFlightRecords.wait` do."""
        self.begin(topic, records).wait()

    def close(self) -> None:
        """Give up what is not acknowledged yet (its `wait` then raises) and let go; calling it again is harmless."""
        self._kafka._sender.force_close()
        self._kafka._sender.join(5)
        self._kafka.close(timeout=1)

    def _append(self, topic_partition: TopicPartition, records: Sequence[Record]) -> ProducerBatch:
        accumulator = self._kafka._accumulator
        accumulator._appends_in_progress.increment()  # as its own append does: a forced close waits for us
        try:
            with accumulator._tp_lock(topic_partition):
                if accumulator._closed:
                    raise KafkaTimeoutError("closed")
                batch = ProducerBatch(topic_partition, written(records, self._kafka.config["compression_attrs"]))
                accumulator._batches[topic_partition].append(batch)
                accumulator._incomplete.add(batch)
                return batch
        finally:
            accumulator._appends_in_progress.decrement()


def written(records: Sequence[Record], compression: int) -> MemoryRecordsBuilder:
    """kafka-python's builder of one batch with all `records` in it."""
    memory = MemoryRecordsBuilder(2, compression, BATCH_BYTES)
    builder = memory._builder
    builder._buffer += encode_records(records)
    builder._first_timestamp = builder._max_timestamp = int(time.time() * 1000)
    builder._num_records = memory._next_offset = len(records)
    builder._last_offset = len(records) - 1
    return memory


def _chunks(records: list[Record]) -> Iterator[list[Record]]:
    start, total = 0, 0
    for index, record in enumerate(records):
        more = size(record)
        if total + more > BATCH_BYTES and index > start:
            yield records[start:index]
            start, total = index, 0
        total += more
    yield records[start:]

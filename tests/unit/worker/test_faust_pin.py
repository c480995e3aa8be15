"""The batch transport overrides private methods of Faust: this fails when they are not the ones it was written for."""

from __future__ import annotations

import hashlib
import inspect
import re
from importlib.metadata import version

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition, client, cluster
from aiokafka.consumer import fetcher, group_coordinator
from aiokafka.producer import message_accumulator, producer, sender
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust import streams, tables
from faust.transport import consumer
from faust.transport.drivers import aiokafka as driver
from hypothesis import given
from hypothesis import strategies as st
from kafka.record import memory_records as kafka_python
from mode import threads

from clearwell.kafka import consumer_options, plain_records
from clearwell.kafka.message_format import encode_headers
from clearwell.worker import transport
from clearwell.worker.batch_builder import BATCH_BYTES, WrittenBatch, chunks

headers = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=200)), max_size=4)

PINNED = {
    driver.AIOKafkaConsumerThread.seek_to_committed: "775ab0adc4b0",
    driver.AIOKafkaConsumerThread._create_worker_consumer: "c2701bfc3e6f",
    driver.AIOKafkaConsumerThread._commit: "932852ce7a23",
    driver.AIOKafkaConsumerThread._fetch_records: "39a2c6c79fc1",
    driver.Consumer._to_message: "7c24f6511b2f",
    driver.Producer._settings_extra: "a4c7bc41b638",
    fetcher.PartitionRecords._unpack_records: "b803e6d46480",
    fetcher.FetchResult.getall: "3e717e30de50",
    fetcher.Fetcher.close: "1cd24bc1c442",
    AIOKafkaConsumer.stop: "bc5da9c98595",
    message_accumulator.MessageAccumulator.add_batch: "5ed1c5b1367a",
    client.AIOKafkaClient.force_metadata_update: "cb7befef21c8",
    group_coordinator.GroupCoordinator.request_rejoin: "f70a261c91c3",
    consumer.Consumer.getmany: "4b168d84882a",
    consumer.Consumer.ack: "5fcf41cf4515",
    consumer.Consumer.perform_seek: "0e8c130ff4b0",
    consumer.Consumer._new_offset: "1d2c7ea89a7a",
    consumer.Consumer._filter_tps_with_pending_acks: "f6f923977423",
    consumer.Consumer._filter_committable_offsets: "dc5e9baf5d99",
    consumer.Consumer._should_commit: "5ce941793947",
    consumer.Consumer._drain_messages: "44a2500309e8",
    consumer.Consumer._add_gap: "4df2573ded7c",
    consumer.Consumer.wait_empty: "e4662fe24f09",
    tables.TableManager.on_start: "365dd25fbc0e",
    streams.Stream.noack: "921a6f5c674d",
    threads.ServiceThread._serve: "67809eae0957",
    threads.ServiceThread._shutdown_thread: "d7377862e734",
    threads.ServiceThread._stopped_set: "af9b1ff77812",
    sender.Sender.start: "ef0a0cbbf1f6",
    producer.AIOKafkaProducer.stop: "43ef97147111",
    cluster.ClusterMetadata.available_partitions_for_topic: "ffc4343ac293",
}


def fingerprint(method: object) -> str:
    """The first 12 hex digits of the SHA-256 of a method's source."""
    return hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:12]  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.none() | st.binary(max_size=300), st.binary(max_size=3_000), headers), min_size=1))
def test_written_batches_are_read_back_by_both_clients(
    many: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]],
) -> None:
    batch = WrittenBatch([(key, value, encode_headers(head), b"") for key, value, head in many])
    assert batch.record_count() == len(many)
    batch._set_producer_state(7, 1, 42)
    built = batch._build()
    assert batch._build() is built, "a retry sends the same"
    for read in (MemoryRecords(built), kafka_python.MemoryRecords(built)):
        (one,) = iter(read.next_batch, None)
        assert one.validate_crc()
        assert (one.producer_id, one.producer_epoch, one.base_sequence) == (7, 1, 42)
        assert one.next_offset == len(many)
        found = [(record.offset, record.key, record.value, record.headers) for record in one]
        assert found == [(offset, *record) for offset, record in enumerate(many)]


def test_written_batches_are_compressed() -> None:
    assert len(WrittenBatch([(None, b"x" * 10_000, b"\0", b"")])._build()) < 200


def test_a_written_batch_has_all_that_the_accumulator_asks_of_a_builder() -> None:
    asked = set(re.findall(r"_builder\.(\w+)", inspect.getsource(message_accumulator.MessageBatch)))
    assert asked >= {"_build", "_set_producer_state", "record_count"}
    assert asked <= set(dir(WrittenBatch))


@pytest.mark.parametrize("sizes", [[], [10], [BATCH_BYTES + 1], [400_000] * 7, [BATCH_BYTES * 2, 5, BATCH_BYTES * 2]])
def test_chunks_keep_order_and_stay_under_the_limit(sizes: list[int]) -> None:
    records = [(None, b"x" * length, b"\0", b"") for length in sizes]
    parts = list(chunks(records))
    assert [record for part in parts for record in part] == records
    assert all(len(part) == 1 or sum(len(record[1]) for record in part) <= BATCH_BYTES for part in parts)
    assert all(parts)


def test_the_wait_of_a_fetch_is_where_we_set_it() -> None:
    assert "self._fetch_max_wait_ms" in inspect.getsource(AIOKafkaConsumer.start)


def test_fetched_records_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fetcher makes its records by the name that we replace, and asks nothing of them but their offsets."""
    monkeypatch.setattr(fetcher, "PartitionRecords", fetcher.PartitionRecords)  # put back at the end
    plain_records.read_plain_records()
    assert "PartitionRecords(" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    options = {"is_transactional": 0, "producer_id": -1, "producer_epoch": -1, "base_sequence": 0, "batch_size": 10_000}
    builder = DefaultRecordBatchBuilder(2, 0, **options)
    for number in range(3):
        builder.append(number, 1, key=b"k", value=b"%d" % number, headers=[("name", b"x")])
    log = MemoryRecords(bytes(builder.build()))
    read = fetcher.PartitionRecords(TopicPartition("t", 0), log, [], 1, None, None, True, fetcher.READ_UNCOMMITTED)
    found = [(one.offset, one.key, one.value, one.headers) for one in read]
    assert found == [(1, b"k", b"1", [("name", b"x")]), (2, b"k", b"2", [("name", b"x")])]
    assert read.next_fetch_offset == 3
    assert read._records_iterator.gi_frame is None  # else it would refer to itself for ever


def test_no_client_makes_a_topic_by_asking_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka makes its questions by the name that we replace; the broker's `auto.create.topics.enable` has no say."""
    monkeypatch.setattr(client, "MetadataRequest", MetadataRequest)  # as it is before; put back at the end
    assert client.MetadataRequest(["t"]).build(MetadataRequest_v5).allow_auto_topic_creation is True
    consumer_options.never_create_topics()
    assert client.MetadataRequest(["t"]).build(MetadataRequest_v5).allow_auto_topic_creation is False
    assert "MetadataRequest(" in inspect.getsource(client.AIOKafkaClient._metadata_update)
    assert "never_create_topics()" in inspect.getsource(transport.BatchConsumerThread._create_worker_consumer)


def test_faust_s_consumer_reads_only_what_was_committed() -> None:
    assert "isolation_level=self._isolation_level" in inspect.getsource(AIOKafkaConsumer.start)
    assert consumer_options.READ_COMMITTED == "read_committed"


def test_versions_are_the_pinned_ones() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert version("aiokafka") == "0.14.0"


@pytest.mark.parametrize("method", PINNED, ids=lambda method: method.__qualname__)
def test_overridden_methods_are_as_they_were(method: object) -> None:
    assert fingerprint(method) == PINNED[method], (
        f"Faust changed {method.__qualname__}: read what relies on it (git grep), then pin the new one"  # type: ignore[attr-defined]
    )

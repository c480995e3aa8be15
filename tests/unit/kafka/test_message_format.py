"""Our writer gives the bytes of kafka-python's own; these tests fail when its private parts change."""

from __future__ import annotations

import random
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.partitioner.default import murmur2 as theirs
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.producer.sender import Sender
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from clearwell.kafka.message_format import Record, encode_headers, encode_records, murmur2, partition_of, size
from clearwell.kafka.producer import BATCH_BYTES, _chunks, written

ZSTD = 4
bytes_or_none = st.one_of(st.none(), st.binary(max_size=300))
headers = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=200)), max_size=8)


def kafka_python(records: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]], now: int) -> bytes:
    """The batch as kafka-python writes it, record by record, uncompressed."""
    builder = MemoryRecordsBuilder(2, 0, 1 << 30)
    for key, value, head in records:
        builder.append(now, key, value, head)
    builder.close()
    return bytes(builder.buffer())


def ours(records: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]]) -> MemoryRecordsBuilder:
    """The same batch written at once."""
    return written([Record(key, value, encode_headers(head), b"") for key, value, head in records], 0)


@given(st.lists(st.tuples(bytes_or_none, st.binary(max_size=300), headers), min_size=1, max_size=20))
def test_a_batch_is_the_same_to_the_byte(records: list[tuple[bytes | None, bytes, list[tuple[str, bytes]]]]) -> None:
    mine = ours(records)
    now = mine._builder._first_timestamp
    mine.close()
    assert bytes(mine.buffer()) == kafka_python(records, now)


def test_long_batches_and_values_cross_every_varint_length() -> None:
    records = [(b"k" * n, b"v" * (n * 7), [("h", b"x" * n)]) for n in (0, 1, 63, 64, 127, 128, 8191, 8192, 20_000)] * 2
    records += [(None, b"", [])] * 17_000
    mine = ours(records)
    now = mine._builder._first_timestamp
    mine.close()
    assert bytes(mine.buffer()) == kafka_python(records, now)


def test_compressed_batches_are_read_back() -> None:
    records = [Record(b"k%d" % n, b"v%d" % n, encode_headers([("a", b"b")]), b"") for n in range(500)]
    memory = written(records, ZSTD)
    assert memory.next_offset() == 500
    memory.set_producer_state(7, 1, 42, False)
    memory.close()
    (batch,) = list(_batches(memory))
    assert batch.validate_crc()
    assert (batch.producer_id, batch.base_sequence) == (7, 42)
    found = [(record.offset, record.key, record.value, record.headers) for record in batch]
    assert found == [(n, b"k%d" % n, b"v%d" % n, [("a", b"b")]) for n in range(500)]


def _batches(memory: MemoryRecordsBuilder) -> MemoryRecords:
    return MemoryRecords(bytes(memory.buffer()))


@given(st.binary(max_size=100))
def test_keys_go_where_every_kafka_client_sends_them(key: bytes) -> None:
    assert murmur2(key) == theirs(key)
    assert 0 <= partition_of(key, 7) < 7


@pytest.mark.parametrize("sizes", [[10], [BATCH_BYTES * 2], [400_000] * 7, [BATCH_BYTES * 2, 5, BATCH_BYTES * 2]])
def test_chunks_keep_order_and_stay_under_the_limit(sizes: list[int]) -> None:
    records = [Record(b"%d" % n, b"x" * length, b"\0", b"") for n, length in enumerate(sizes)]
    chunks = list(_chunks(records))
    assert [record for chunk in chunks for record in chunk] == records
    for chunk in chunks:
        assert len(chunk) == 1 or len(encode_records(chunk)) <= BATCH_BYTES
    assert all(size(record) >= len(encode_records([record])) for record in records)


def test_the_private_parts_of_kafka_python_are_still_there() -> None:
    accumulator = RecordAccumulator(message_version=2)
    place = TopicPartition("t", 0)
    with accumulator._tp_lock(place):
        assert len(accumulator._batches[place]) == 0
    batch = ProducerBatch(place, written([Record(None, b"v", b"\0", b"p")], 0))
    accumulator._incomplete.add(batch)
    accumulator._appends_in_progress.increment()
    accumulator._appends_in_progress.decrement()
    assert accumulator._closed is False
    assert callable(Sender.force_close) and callable(Sender.wakeup)
    assert version("kafka-python").startswith("3.0."), "read clearwell/kafka/producer.py against the new version"


def test_a_failed_batch_is_told_by_its_exception_function() -> None:
    batch = ProducerBatch(TopicPartition("t", 0), written([Record(None, b"v", b"\0", b"p")], 0))
    error = ValueError(str(random.random()))
    batch.complete_exceptionally(error, lambda _: error)
    assert batch.produce_future.value[2](0) is error

"""A header whose name is not UTF-8 stops no reader: its record and all others come, in order, whole, once."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from kafka.record import memory_records as kafka_python

from clearwell.kafka import header_names, plain_records
from clearwell.kafka.message_format import encode_headers, varint
from clearwell.records.raw import raw_batch
from clearwell.worker.batch_builder import WrittenBatch

ODD = (b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"ce_id\x80")
READ_AS = (r"\xff\xfe", r"caf\xe9", r"\xed\xa0\x80", r"ce_id\x80")


def headers(name: bytes, value: bytes = b"x") -> bytes:
    """One header in wire form, whatever its name."""
    return varint(1) + varint(len(name)) + name + varint(len(value)) + value


def batch(base: int, written: list[tuple[bytes | None, bytes, bytes, bytes]]) -> bytes:
    """Records as a broker sends them, from an offset on."""
    built = WrittenBatch(written)
    built._set_producer_state(-1, -1, -1)
    sent = bytearray(built._build())
    sent[:8] = base.to_bytes(8, "big")  # the checksum does not cover it
    return bytes(sent)


def by_aiokafka(fetched: bytes, start: int = 0) -> Any:
    """As the consumers of workers read what a fetch brought."""
    return fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(fetched), [], start, None, None, True, "read_committed"
    )


@pytest.fixture(autouse=True)
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clients as our processes have them, and as they were at the end."""
    for module, name in ((fetcher, "PartitionRecords"), (fetcher, "MemoryRecords")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(kafka_python, "DefaultRecordBatch", kafka_python.DefaultRecordBatch)
    plain_records.read_plain_records()
    header_names.read_any_names()


@pytest.mark.parametrize(("name", "read_as"), list(zip(ODD, READ_AS, strict=True)))
def test_both_clients_come_past_it(name: bytes, read_as: str) -> None:
    written = [
        (b"k", b"0", encode_headers([("a", b"1")]), b""),
        (None, b"1", headers(name), b""),
        (b"k", b"2", b"\0", b""),
    ]
    right = [
        (0, b"k", b"0", [("a", b"1")]),
        (1, None, b"1", [(read_as, b"x")]),
        (2, b"k", b"2", []),
        (3, b"z", b"3", []),
    ]
    fetched = batch(0, written) + batch(3, [(b"z", b"3", b"\0", b"")])
    reading = by_aiokafka(fetched)
    assert [(one.offset, one.key, one.value, list(one.headers)) for one in reading] == right
    assert reading.next_fetch_offset == 4
    by_sync = [one for part in kafka_python.MemoryRecords(fetched) for one in part]
    assert [(one.offset, one.key, one.value, one.headers) for one in by_sync] == right
    assert all(type(one.value) is bytes for one in by_sync)


def test_a_fetch_of_many_batches_gives_each_record_once() -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # noqa: T201 - shown when it fails
    choose = random.Random(seed)
    fetched, base, right = b"", 0, []
    for _ in range(40):
        size = choose.randint(1, 5) if base else 5
        odd = [choose.random() < 0.2 for _ in range(size)]
        fetched += batch(
            base,
            [(None, b"%d" % (base + at), headers(b"\xff" if is_odd else b"n"), b"") for at, is_odd in enumerate(odd)],
        )
        right += [(base + at, b"%d" % (base + at), r"\xff" if is_odd else "n") for at, is_odd in enumerate(odd)]
        base += size
    start = choose.randrange(5)  # a broker sends whole batches
    found = [(one.offset, one.value, one.headers[0][0]) for one in by_aiokafka(fetched, start)]
    assert found == right[start:]


def test_the_cleaner_takes_such_a_record_as_any_other() -> None:
    taken = list(by_aiokafka(batch(0, [(None, b'{"n": 1}', headers(b"\xff"), b""), (None, b'{"n": 2}', b"\0", b"")])))
    read = raw_batch("T", 0, taken)
    assert list(read.values) == [b'{"n": 1}', b'{"n": 2}']
    assert not read.refused

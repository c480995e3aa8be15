"""Whole batches for aiokafka's producer, written at once; sending, numbering, retries and leaders stay aiokafka's.

Its own builder takes a record at a time, encodes the headers that all share in each, and compresses at zstd level 3. On
clean events level 1 gives the same ratio (9.0 against 8.8) in half the time (see docs/decisions/0007).
tests/unit/worker/test_faust_pin.py reads the batches back with aiokafka and kafka-python.
Format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence

import cramjam
from crc32c import crc32c

from clearwell.kafka.message_format import AnyRecord, encode_records

BATCH_BYTES = 5_000_000
"""A batch is closed at this size (uncompressed), unless one record alone is larger: a batch of usual events makes one.
With 1 MB, which cut each batch in three, raw → Postgres took 24.4 µs of CPU an event; now 20.8 (decision 0019)."""

_ZSTD = 4
_BEFORE_CRC = struct.Struct(">qiibI")  # base offset, length after itself, leader epoch, magic, CRC
_AFTER_CRC = struct.Struct(">hiqqqhii")  # attributes, last offset, two times, producer id, epoch, sequence, count


class WrittenBatch:
    """Stands where aiokafka expects its BatchBuilder: a batch that is complete but for the producer's numbers."""

    def __init__(self, records: Sequence[AnyRecord]) -> None:
        """At least one record, whose order is kept."""
        body = encode_records(records)
        packed = bytes(cramjam.zstd.compress(body, level=1))
        self._codec, self._packed = (_ZSTD, packed) if len(packed) < len(body) else (0, body)
        self._count = len(records)
        self._now = int(time.time() * 1000)
        self._producer = (-1, -1, -1)
        self._built: bytes | None = None

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        """The batch as it is sent; a retry sends the same."""
        if self._built is None:
            times, last = (self._now, self._now), self._count - 1
            known = _AFTER_CRC.pack(self._codec, last, *times, *self._producer, self._count) + self._packed
            length = len(known) + _BEFORE_CRC.size - 12  # the offset and the length itself don't count
            self._built = _BEFORE_CRC.pack(0, length, -1, 2, crc32c(known)) + known
            self._packed = b""
        return self._built

    def append(self, **_: object) -> None:
        """None says that the batch is full."""

    def close(self) -> None:
        """It was never open."""

    def closed(self) -> bool:
        """Never open: it is sent at once."""
        return True

    def size(self) -> int:
        """Bytes, but for the head."""
        return len(self._built or self._packed)

    def record_count(self) -> int:
        """How many sequence numbers it takes."""
        return self._count


def chunks(records: Sequence[AnyRecord]) -> Iterator[Sequence[AnyRecord]]:
    """Consecutive records that make at most BATCH_BYTES together, or one that is larger; in order."""
    start = total = 0
    for index, (key, value, headers, _) in enumerate(records):
        more = len(value) + len(headers) + len(key or b"") + 24  # what `wire.size` says, without the call
        total += more
        if total > BATCH_BYTES and index > start:
            yield records[start:index]
            start, total = index, more
    if records:
        yield records[start:]

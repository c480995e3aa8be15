"""Writers to a log in memory."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clearwell.errors import Retryable
from clearwell.kafka.message_format import AnyHeader, AnyRecord, Record, partition_of
from clearwell.testing.memory_partition import TransactionOutcome, TransactionState

if TYPE_CHECKING:
    from clearwell.testing.memory_log import MemoryLog


class MemorySending:
    """Records that are in the log already; see `clearwell.kafka.producer.Placing`."""

    def __init__(self, offsets: list[int]) -> None:
        self._offsets = offsets

    def wait(self) -> None:
        """Nothing is waited for."""

    def offsets(self) -> list[int]:
        """The offset of each record, in their order."""
        return self._offsets


class MemoryProducer:
    """As `clearwell.kafka.producer.EventProducer` and, for services, as their `BatchProducer`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._closed = False

    def begin(self, topic: str, records: Sequence[Record]) -> MemorySending:
        """Append each record to the partition that its place decides, in order."""
        with self._log.lock:
            by_partition: defaultdict[int, list[Record]] = defaultdict(list)
            for record in records:
                by_partition[partition_of(record.place, len(self._log.topic(topic).partitions))].append(record)
            return MemorySending(
                [offset for at, some in by_partition.items() for offset in self._append(topic, at, some)]
            )

    def begin_at(self, topic: str, partition: int, records: Sequence[AnyRecord]) -> MemorySending:
        """Append records to one partition, in order."""
        return MemorySending(self._append(topic, partition, records))

    def send_batch(self, topic: str, records: Sequence[Record]) -> None:
        """As `begin`."""
        self.begin(topic, records)

    async def send_records(self, topic: str, partition: int, records: Sequence[AnyRecord]) -> list[asyncio.Future[Any]]:
        """As `begin_at`, with a future that is done."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(self.begin_at(topic, partition, records).offsets())
        return [done]

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def _append(self, topic: str, partition: int, records: Sequence[AnyRecord]) -> list[int]:
        if self._closed:
            raise Retryable(f"A producer was closed while writing to {topic}.")
        return append(
            self._log, topic, partition, [(key, value, decode_headers(headers)) for key, value, headers, _ in records]
        )


class MemoryTransaction:
    """A transaction of some producer; its records are shown from `commit` on, and never after `abort`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._outcome = TransactionOutcome()
        self._touched: dict[tuple[str, int], None] = {}

    def produce(self, topic: str, partition: int, values: Sequence[bytes]) -> list[int]:
        """Append records without key and headers; returns their offsets."""
        self._touched[topic, partition] = None
        return append(self._log, topic, partition, [(None, value, ()) for value in values], self._outcome)

    def commit(self) -> None:
        """Show the records."""
        self._end(TransactionState.COMMITTED)

    def abort(self) -> None:
        """Show them to nobody."""
        self._end(TransactionState.ABORTED)

    def _end(self, state: TransactionState) -> None:
        with self._log.lock:
            self._outcome.state = state
            for topic, partition in self._touched:
                self._log.partition(topic, partition).mark(self._outcome, self._log.tick())


def append(
    log: MemoryLog,
    topic: str,
    partition: int,
    records: Sequence[tuple[bytes | None, bytes | None, Sequence[AnyHeader]]],
    transaction: TransactionOutcome | None = None,
) -> list[int]:
    """Append (key, value, headers) to a partition, in order; returns their offsets."""
    with log.lock:
        return log.partition(topic, partition).append(records, log.tick(), transaction)


def decode_headers(encoded: bytes) -> list[AnyHeader]:
    """The headers of a record in wire form, as `clearwell.kafka.message_format.encode_headers` writes them."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = encoded[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def text() -> bytes | None:
        nonlocal at
        length = number()
        if length < 0:
            return None
        at += length
        return encoded[at - length : at]

    return [((text() or b"").decode(), text()) for _ in range(number())]

"""One partition of a log in memory: records by offset, transactions, leader epochs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from clearwell.kafka.message_format import AnyHeader

LOG_APPEND_TIME = 1


class TransactionState(Enum):
    """Kafka shows records of a transaction to nobody before it is committed, and never those of an aborted one."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(slots=True)
class TransactionOutcome:
    """Shared by all records of one transaction."""

    state: TransactionState = TransactionState.OPEN


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """What a reader gets of a record: the same attributes as of one that was fetched from Kafka."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any  # a sequence of (name, value), as fetched records have it
    timestamp_type: int = LOG_APPEND_TIME
    transaction: TransactionOutcome | None = None
    marker: bool = False
    """The end of a transaction: it has an offset, and no reader sees it."""

    @property
    def visible(self) -> bool:
        """Whether a reader of what is committed gets it; asked below the stable end alone."""
        aborted = self.transaction is not None and self.transaction.state is TransactionState.ABORTED
        return not self.marker and not aborted


@dataclass(slots=True)
class MemoryPartition:
    """`begin` is the oldest offset that is there; `epochs` are leader epochs and where each began."""

    begin: int = 0
    records: list[MemoryRecord] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return self.begin + len(self.records)

    @property
    def stable_end(self) -> int:
        """The offset after the last record that may be read: an open transaction's, and what follows, may not."""
        for record in self.records:
            if record.transaction is not None and record.transaction.state is TransactionState.OPEN:
                return record.offset
        return self.end

    @property
    def epoch(self) -> int:
        """The leader epoch now."""
        return self.epochs[-1][0]

    def append(
        self,
        records: Iterable[tuple[bytes | None, bytes | None, Sequence[AnyHeader]]],
        timestamp: int,
        transaction: TransactionOutcome | None = None,
    ) -> list[int]:
        """Append (key, value, headers) in order; returns their offsets."""
        first = self.end
        for key, value, headers in records:
            self.records.append(MemoryRecord(self.end, timestamp, key, value, headers, transaction=transaction))
        return list(range(first, self.end))

    def mark(self, transaction: TransactionOutcome, timestamp: int) -> None:
        """Append the marker that ends a transaction."""
        marker = MemoryRecord(self.end, timestamp, None, None, (), transaction=transaction, marker=True)
        self.records.append(marker)

    def read(self, start: int, end: int, limit: int) -> list[MemoryRecord]:
        """At most `limit` visible records with offsets in [start, end), in order, as far as they are there."""
        last = min(end, self.stable_end) - self.begin
        visible = (record for record in self.records[max(start - self.begin, 0) : max(last, 0)] if record.visible)
        return [record for record, _ in zip(visible, range(limit), strict=False)]

    def offset_at(self, timestamp: int) -> int | None:
        """The offset of the first record appended at or after a Unix time in ms; None where there is none."""
        index = bisect_left(self.records, timestamp, key=lambda record: record.timestamp)
        return self.begin + index if index < len(self.records) else None

    def remove_before(self, offset: int) -> None:
        """Remove the oldest records, as retention does."""
        offset = min(max(offset, self.begin), self.end)
        del self.records[: offset - self.begin]
        self.begin = offset

    def elect(self, lost: int) -> None:
        """A new leader, who has not got the last `lost` records."""
        del self.records[max(len(self.records) - lost, 0) :]
        epoch = self.epoch + 1
        self.epochs = [(number, start) for number, start in self.epochs if start < self.end or start == 0]
        self.epochs.append((epoch, self.end))

    def end_of_epoch(self, epoch: int) -> int:
        """Where a leader epoch ended, the end of the log for the present one; -1 for one that has not been."""
        if epoch > self.epoch:
            return -1
        return next((start for number, start in self.epochs if number > epoch), self.end)

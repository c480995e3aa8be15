"""What a model gets: events of one clean partition, as dicts or as Arrow, and the promise to go on after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from clearwell.contract.model import Field
from clearwell.pipeline.arrow import record_batch
from clearwell.subscriptions.position import Position


class Batch:
    """Clean events of one partition in order, none of them a repeat; never empty.

    `partition` is the clean (and raw) partition; `first` is the clean offset of the first event and `next_offset` the
    one after the last; `raw_offsets[i]` and `raw_topics[i]` are the identity of event i.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        rows: Sequence[Sequence[Any]],
        origins: Sequence[tuple[str, int]],
        partition: int,
        first: int,
        position: Position,
        commit: Callable[..., None],
    ) -> None:
        self._fields = fields
        self._rows = rows
        self._origins = origins
        self._commit = commit
        self._position = position
        self.partition = partition
        self.first = first

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:  # invariant 9: no data
        return (
            f"<Batch of {len(self)} events, partition {self.partition}, offsets {self.first} to {self.next_offset - 1}>"
        )

    @property
    def next_offset(self) -> int:
        """The clean offset at which reading goes on once this batch is committed."""
        return self._position.offset

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(field.name for field in self._fields)

    @property
    def raw_offsets(self) -> list[int]:
        """The raw offset of each event."""
        return [offset for _, offset in self._origins]

    @property
    def raw_topics(self) -> list[str]:
        """The id of the raw topic of each event."""
        return [topic_id for topic_id, _ in self._origins]

    def dicts(self) -> list[dict[str, Any]]:
        """Each event as a dict of Python values (datetime in UTC, Decimal, bytes); protected values are strings."""
        columns = self.columns
        return [dict(zip(columns, row, strict=True)) for row in self._rows]

    def arrow(self) -> pa.RecordBatch:
        """The events as typed columns: timestamps in µs UTC, decimals as decimal128, json as its text."""
        return record_batch(self._fields, self._rows)

    def commit(self) -> None:
        """The model is done with this batch and all earlier ones of its partition: they never come again.

        Also after the loop, until another member follows. Raises PartitionLost when the partition went to another
        member of the group in the meantime (its events come there again), Retryable when Kafka does not answer.
        """
        self._commit(partition=self.partition, position=self._position)

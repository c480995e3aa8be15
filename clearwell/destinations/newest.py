"""Which of two versions of a row is newer: the one rule of invariant 4, in Python.

Newer is the later event time; of equal event times, the later raw record. Raw offsets tell the order inside one
partition of one incarnation of the raw topic, so that a replay in any order ends in the same rows. Records of two
incarnations can't be compared, nor those of two partitions: partitions were added, and the key has moved to one where
offsets are lower. Then the one that arrives later wins.
A row without an event time is older than any with one. An equal record counts as newer: writing it again is harmless,
and a replay under a widened contract fills the columns that were added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import CleanBatch

Stored = TypeVar("Stored")


class RowVersion(NamedTuple):
    """What the rule looks at."""

    event_time: datetime | None
    raw_topic: str
    raw_offset: int
    raw_partition: int


def replaces(new: RowVersion, stored: RowVersion) -> bool:
    """Whether `new` takes the place of `stored`."""
    if new.event_time != stored.event_time:
        return stored.event_time is None or (new.event_time is not None and new.event_time > stored.event_time)
    if (new.raw_topic, new.raw_partition) != (stored.raw_topic, stored.raw_partition):
        return True
    return new.raw_offset >= stored.raw_offset


def key_of(schema: CleanSchema) -> Callable[[tuple[Any, ...]], Any]:
    """A function from a row to its key: the value itself, or a tuple when the key has several fields."""
    names = [field.name for field in schema.fields]
    return itemgetter(*(names.index(name) for name in schema.key))


def newest_rows(batch: CleanBatch, schema: CleanSchema) -> Sequence[int]:
    """Indexes into `batch.rows`, ascending, of the newest row of each key.

    A key twice in one flush makes ON CONFLICT fail, and lets an unordered bulk write pick either.
    """
    key = key_of(schema)
    keys = [key(row) for row in batch.rows]
    if len(set(keys)) == len(keys):
        return range(len(keys))
    time = [field.name for field in schema.fields].index(schema.event_time)
    best: dict[Any, tuple[int, RowVersion]] = {}
    for index, row_key in enumerate(keys):
        version = RowVersion(
            batch.rows[index][time], batch.raw_topics[index], batch.raw_offsets[index], batch.partition
        )
        if row_key not in best or replaces(version, best[row_key][1]):
            best[row_key] = (index, version)
    return sorted(index for index, _ in best.values())


def make_newest(
    batch: CleanBatch, schema: CleanSchema, make: Callable[[tuple[Any, ...], str, int, int], Stored]
) -> list[Stored]:
    """What `make` makes of the newest row of each key and its identity: raw topic, partition and offset."""
    rows, topics, offsets, partition = batch.rows, batch.raw_topics, batch.raw_offsets, batch.partition
    return [make(rows[index], topics[index], partition, offsets[index]) for index in newest_rows(batch, schema)]

"""Reads clean records as everyone must: each raw event once, and none that no raw event explains (invariant 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from clearwell.records.clean import raw_identities
from clearwell.records.duplicates import Duplicates
from clearwell.records.origins import Origins


@dataclass(frozen=True, slots=True)
class CleanRecords:
    """Records of one clean partition in order, and the raw event of each: three lists of the same length.

    `forged` and `duplicates` are the clean offsets of those that are not among them, rising.
    """

    records: Sequence[Any]
    raw_topics: Sequence[str]
    raw_offsets: Sequence[int]
    forged: Sequence[int] = ()
    duplicates: Sequence[int] = ()

    def only(self, flags: Sequence[bool]) -> CleanRecords:
        """Those with a flag."""
        return replace(
            self,
            records=list(compress(self.records, flags)),
            raw_topics=list(compress(self.raw_topics, flags)),
            raw_offsets=list(compress(self.raw_offsets, flags)),
        )

    def offsets_without(self, flags: Sequence[bool]) -> list[int]:
        """The clean offsets of those without a flag."""
        return [record.offset for record, flag in zip(self.records, flags, strict=True) if not flag]


class CleanReader:
    """Takes the records of one clean partition, batch by batch, in the order of their offsets."""

    def __init__(self, partition: int, origins: Origins, duplicates: Duplicates | None = None) -> None:
        """`duplicates` as an earlier reader left them; what is taken is noted in them."""
        self._partition = partition
        self._origins = origins
        self._duplicates = Duplicates() if duplicates is None else duplicates

    @property
    def high_watermarks(self) -> Mapping[str, int]:
        """Highest raw offset by raw topic id, of what was taken; a copy."""
        return self._duplicates.high_watermarks

    def take(self, records: Sequence[Any]) -> CleanRecords:
        """What is new in fetched records; blocks where Kafka is to be asked how far raw goes.

        Raises Fatal when a record is not a cleaner's.
        """
        topics, offsets = raw_identities(records)
        if self._origins.explain(self._partition, topics, offsets):
            return self._new(CleanRecords(records, topics, offsets))
        self._origins.refresh()
        return self._new(self._explained(CleanRecords(records, topics, offsets)))

    async def take_asking(self, records: Sequence[Any], refresh: Callable[[], Awaitable[object]]) -> CleanRecords:
        """`take` inside an event loop: `refresh` refreshes the origins on another thread."""
        topics, offsets = raw_identities(records)
        if self._origins.explain(self._partition, topics, offsets):
            return self._new(CleanRecords(records, topics, offsets))
        await refresh()
        return self._new(self._explained(CleanRecords(records, topics, offsets)))

    def _explained(self, batch: CleanRecords) -> CleanRecords:
        flags = self._origins.explained(self._partition, batch.raw_topics, batch.raw_offsets, self.high_watermarks)
        if all(flags):
            return batch
        return replace(batch.only(flags), forged=batch.offsets_without(flags))

    def _new(self, batch: CleanRecords) -> CleanRecords:
        flags = self._duplicates.are_new(batch.raw_topics, batch.raw_offsets)
        if all(flags):
            return batch
        return replace(batch.only(flags), duplicates=batch.offsets_without(flags))

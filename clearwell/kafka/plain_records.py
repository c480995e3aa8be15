"""Fetched records as aiokafka's C code reads them, without the second object that its consumer makes of each.

A ConsumerRecord costs as much as reading the record (1.1 µs): its names of topic and partition are
those of the whole slice, its sizes and checksum are nobody's here. What is handed on instead has `offset`, `timestamp`,
`timestamp_type`, `key`, `value` and `headers` (a list of name and bytes), which is all that Clearwell reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher

from clearwell.kafka.header_names import Fetched, read_again

_ORIGINAL = fetcher.PartitionRecords


class PlainRecords(_ORIGINAL):  # type: ignore[misc, valid-type] # aiokafka has no types here
    """aiokafka's records of one partition in one answer to a fetch: order, checksums and positions are its own."""

    _records: Any

    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator  # type: ignore[no-any-return] # one call less a record

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:  # the name of a header, the one text in a record
            self._records = read_again(self._records, self.next_fetch_offset)
            yield from super()._unpack_records()

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


def read_plain_records() -> None:
    """aiokafka consumers of this process give plain records from now on (tests/unit/worker/test_faust_pin.py)."""
    fetcher.PartitionRecords = PlainRecords
    fetcher.MemoryRecords = Fetched

r"""Names of headers that are not UTF-8, as producers in C may write them: clients would stop for ever at such a record.

Kafka's format calls a header's name a string and checks nothing; aiokafka and kafka-python raise as they decode it,
read the same records again and never come past them. Here such a name is read with its odd bytes escaped (`\xff`): it
is no name of ours, and the event flows as its neighbours do (invariant 5). All else is the clients' own code.
"""

from __future__ import annotations

from typing import Any

from aiokafka.record import default_records as aio_batches
from aiokafka.record import memory_records as aio_records
from kafka.record import memory_records as sync_records

_MAGIC = 16
"""Where a batch in memory has the version of its format."""


class _Name(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _Names(bytearray):
    """The bytes of a batch, whose parts are decoded whatever they hold: the clients decode nothing but names."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _Name(part) if isinstance(key, slice) else part


class _AioBatch(aio_batches._DefaultRecordBatchPy):  # type: ignore[misc] # final for those who don't know its insides
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Names(self._buffer)


class AnyNames(aio_records._MemoryRecordsPy):  # type: ignore[misc] # as above
    """aiokafka's reader in Python, from the batch on that holds an offset; slow, so only for what needs it."""

    def __init__(self, fetched: bytes, offset: int) -> None:
        """`fetched` is what a fetch brought of one partition."""
        super().__init__(fetched)
        self._offset = offset

    def next_batch(self, *_: int) -> Any:
        """The next batch; None at the end."""
        while (piece := self._next_slice) is not None:
            batch = super().next_batch()
            if piece[_MAGIC] < 2:
                return batch  # a format without headers
            if batch.next_offset > self._offset:
                return _AioBatch(piece)
        return None


class Fetched(aio_records.MemoryRecords):  # type: ignore[misc] # as above
    """aiokafka's reader in C, which can be read again."""

    def __init__(self, fetched: bytes) -> None:
        super().__init__(fetched)
        self.fetched = fetched


class SyncBatch(sync_records.DefaultRecordBatch):  # type: ignore[misc] # kafka-python has no types
    """kafka-python's batch."""

    _buffer: bytearray

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            self._buffer = _Names(self._buffer)
            return super()._read_msg()


def read_again(records: Any, offset: int) -> AnyNames:
    """What `records`, made by `Fetched`, hold from the batch on that has `offset`."""
    return AnyNames(records.fetched, offset)


def read_any_names() -> None:
    """From now on kafka-python reads headers of any name in this process (tests/unit/kafka/test_header_names.py)."""
    sync_records.DefaultRecordBatch = SyncBatch

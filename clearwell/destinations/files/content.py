"""What is in a file: clean events, and where in raw each came from (invariant 3), as NDJSON or Parquet."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import CleanBatch, RowReason, RowsRefused
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.pipeline.arrow import record_batch

Format = Literal["parquet", "ndjson"]
Compression = Literal["zstd", "gzip", "none"]

_PACKED = {"zstd": ".zst", "gzip": ".gz", "none": ""}
_PACK: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.compress,
    "gzip": lambda data: gzip.compress(data, mtime=0),  # the same events are the same bytes
    "none": bytes,
}


class _Origin(msgspec.Struct):
    """The part of a line that says which event it is."""

    offset: int = msgspec.field(name=RAW_OFFSET)


_origins = msgspec.json.Decoder(_Origin)


class FileFormat(NamedTuple):
    """One way of writing."""

    format: Format
    compression: Compression

    @property
    def ending(self) -> str:
        """Of the files' names."""
        return ".parquet" if self.format == "parquet" else f".ndjson{_PACKED[self.compression]}"

    def encode(self, schema: CleanSchema, batch: CleanBatch, indexes: Sequence[int]) -> bytes:
        """The rows of `batch` at `indexes`. Raises RowsRefused when a value does not fit its column's type."""
        if self.format == "parquet":
            return _parquet(schema, batch, indexes, self.compression)
        return _PACK[self.compression](b"".join(_line(batch, index) for index in indexes))


def _line(batch: CleanBatch, index: int) -> bytes:
    """The event as it is in the clean topic, never empty since its key is in it, and its origin."""
    origin = f'"{RAW_TOPIC}":"{batch.raw_topics[index]}","{RAW_PARTITION}":{batch.partition}'
    return b'%s,%s,"%s":%d}\n' % (
        batch.values[index].rstrip()[:-1],
        origin.encode(),
        RAW_OFFSET.encode(),
        batch.raw_offsets[index],
    )


def _parquet(schema: CleanSchema, batch: CleanBatch, indexes: Sequence[int], compression: Compression) -> bytes:
    try:
        event = record_batch(schema.fields, [batch.rows[index] for index in indexes])
    except (OverflowError, pa.ArrowInvalid):
        raise _refused(RowReason.OUT_OF_RANGE, batch) from None
    except (TypeError, ValueError, ArithmeticError, pa.ArrowException):
        raise _refused(RowReason.WRONG_TYPE, batch) from None
    table = pa.Table.from_batches([event])
    table = table.append_column(RAW_TOPIC, pa.array([batch.raw_topics[index] for index in indexes], pa.string()))
    table = table.append_column(RAW_PARTITION, pa.repeat(pa.scalar(batch.partition, pa.int32()), len(indexes)))
    table = table.append_column(RAW_OFFSET, pa.array([batch.raw_offsets[index] for index in indexes], pa.int64()))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression)
    return buffer.getvalue()


def _refused(reason: RowReason, batch: CleanBatch) -> RowsRefused:
    return RowsRefused(reason, f"A value does not fit the type of its column in the file, in {batch.coordinates()}.")


def raw_offsets(name: str, data: bytes) -> frozenset[int]:
    """The raw offsets of the events in a file of ours called `name`, however it was written."""
    if name.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data), columns=[RAW_OFFSET])
        return frozenset(table.column(0).to_pylist())
    if name.endswith(".zst"):
        data = zstandard.decompress(data)
    elif name.endswith(".gz"):
        data = gzip.decompress(data)
    return frozenset(origin.offset for origin in _origins.decode_lines(data))

"""One Parquet file: the clean events of one chunk of raw offsets, and the account of the chunk in its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from clearwell.backfill.files import disk_errors, write_durably
from clearwell.contract.model import CleanSchema
from clearwell.pipeline.arrow import arrow_schema, record_batch

PARTITION = pa.field("clearwell_partition", pa.int32(), nullable=False)
OFFSET = pa.field("clearwell_offset", pa.int64(), nullable=False)
ACCOUNT = b"clearwell"
ROW_GROUP = 50_000


class ChunkAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a chunk's raw events (invariant 5).

    `gone` offsets held none any more (retention); `empty` ones never did: markers of transactions, what was aborted.

    `pipeline` is the SHA-256 of the compiled pipeline's source: a chunk of another pipeline is written again.
    """

    pipeline: str
    kept: int
    dropped: int
    rejected: int
    gone: int
    empty: int = 0


class PartWriter:
    """Collects the clean events of one chunk as Arrow columns, which are a fraction of the rows."""

    def __init__(self, schema: CleanSchema, partition: int) -> None:
        self._fields = schema.fields
        self._partition = partition
        self._batches: list[pa.RecordBatch] = []
        self.schema = arrow_schema(schema.fields).append(PARTITION).append(OFFSET)

    def add(self, rows: Sequence[Sequence[object]], offsets: Sequence[int]) -> None:
        """Clean rows and their raw offsets, in order."""
        columns = record_batch(self._fields, rows).columns
        partitions = pa.array([self._partition] * len(rows), pa.int32())
        arrays = [*columns, partitions, pa.array(offsets, pa.int64())]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))

    def write(self, path: Path, account: ChunkAccount) -> None:
        """Make the file durable under `path`, also when no event was kept."""
        table = pa.Table.from_batches(self._batches, self.schema).combine_chunks()
        table = table.replace_schema_metadata({ACCOUNT: msgspec.json.encode(account)})
        with write_durably(path) as unfinished:
            pq.write_table(table, unfinished, compression="zstd", row_group_size=ROW_GROUP)


def read_account(path: Path) -> ChunkAccount | None:
    """The account of a finished part; None when there is none, or the file is not ours."""
    if not path.exists():
        return None
    try:
        with disk_errors(path):
            metadata = pq.read_schema(path).metadata or {}
        return msgspec.json.decode(metadata[ACCOUNT], type=ChunkAccount)
    except (pa.ArrowInvalid, KeyError, msgspec.DecodeError):
        return None

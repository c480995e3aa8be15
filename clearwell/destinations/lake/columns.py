"""Clean rows as the columns of a Delta table: where each came from first, then the event."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import CleanBatch, RowReason, RowsRefused
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC
from clearwell.pipeline.arrow import arrow_schema, record_batch

CLEAN_OFFSET = "_clean_offset"
EVENT_DATE = "_event_date"
"""The partition column: the UTC date of the event time."""

IDENTITY = (
    pa.field(RAW_TOPIC, pa.string()),
    pa.field(RAW_PARTITION, pa.int32()),
    pa.field(RAW_OFFSET, pa.int64()),
)
"""First, since Delta keeps minima and maxima of a table's first columns alone: rows are found again by these."""

OWN = (*IDENTITY, pa.field(CLEAN_OFFSET, pa.int64()), pa.field(EVENT_DATE, pa.date32()))
TAKEN = frozenset(field.name for field in OWN)


def table_columns(schema: CleanSchema) -> pa.Schema:
    """All columns, all of which may be null: a later contract of the same version may relax any."""
    return pa.schema([*OWN, *(field.with_nullable(True) for field in arrow_schema(schema.fields))])


def columns_of(schema: CleanSchema, batch: CleanBatch, indexes: Sequence[int] | None) -> pa.RecordBatch:
    """The rows of `batch` at `indexes` (None: all) as the columns of `table_columns`.

    Raises RowsRefused when a value does not fit its column's type.
    """
    rows, topics, raw, clean = batch.rows, batch.raw_topics, batch.raw_offsets, batch.offsets
    if indexes is not None:
        rows, topics = [rows[at] for at in indexes], [topics[at] for at in indexes]
        raw, clean = [raw[at] for at in indexes], [clean[at] for at in indexes]
    try:
        event = record_batch(schema.fields, rows)
        dates = pc.floor_temporal(event.column(schema.event_time), unit="day").cast(pa.date32())
    except (OverflowError, pa.ArrowInvalid):
        raise _refused(RowReason.OUT_OF_RANGE, batch) from None
    except (TypeError, ValueError, ArithmeticError, pa.ArrowException):
        raise _refused(RowReason.WRONG_TYPE, batch) from None
    own = [
        pa.array(topics, pa.string()),
        pa.repeat(pa.scalar(batch.partition, pa.int32()), len(rows)),
        pa.array(raw, pa.int64()),
        pa.array(clean, pa.int64()),
        dates,
    ]
    return pa.RecordBatch.from_arrays([*own, *event.columns], schema=table_columns(schema))


def _refused(reason: RowReason, batch: CleanBatch) -> RowsRefused:
    return RowsRefused(reason, f"A value does not fit the type of its column in the lake, in {batch.coordinates()}.")

"""The Arrow shape of clean events, in one place: subscriptions, backfills and stores give the same columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from clearwell.contract.model import Field, Type

SCALARS = {
    Type.STRING: pa.string(),
    Type.INT32: pa.int32(),
    Type.INT64: pa.int64(),
    Type.FLOAT64: pa.float64(),
    Type.BOOL: pa.bool_(),
    Type.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Type.DATE: pa.date32(),
    Type.BYTES: pa.binary(),
    Type.JSON: pa.string(),
}
"""Arrow types of fields that need no more to say. A json value is kept as its text."""


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a clean field: timestamps in µs UTC, decimals as decimal128 of the declared digits."""
    if field.is_protected_text:
        return pa.string()
    if field.type is Type.LIST and field.items is not None:
        return pa.list_(_scalar(field.items, field))
    return _scalar(field.type, field)


def _scalar(kind: Type, field: Field) -> pa.DataType:
    return pa.decimal128(field.precision, field.scale) if kind is Type.DECIMAL else SCALARS[kind]


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """Columns in the order of `fields`, with unit, description and protection as metadata."""
    return pa.schema(
        [
            pa.field(field.name, arrow_type(field), nullable=not field.required, metadata=_notes(field))
            for field in fields
        ]
    )


def record_batch(fields: Sequence[Field], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Rows (Python values in the order of `fields`) as columns."""
    schema = arrow_schema(fields)
    columns = zip(*rows, strict=True) if rows else [()] * len(fields)
    arrays = [_array(field, column, of.type) for field, column, of in zip(fields, columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(field: Field, column: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if field.type is Type.JSON and not field.is_protected_text:
        column = [None if value is None else msgspec.json.encode(value).decode() for value in column]
    return pa.array(column, type=kind)


def _notes(field: Field) -> dict[str, str] | None:
    notes = {"unit": field.unit, "description": field.description}
    if field.privacy is not None:
        notes["privacy"] = str(field.privacy.kind)
    return {name: text for name, text in notes.items() if text} or None

"""Rows as Cassandra takes them, and the column types that a contract asks for.

Where CQL is narrower than the contract:
- a timestamp keeps milliseconds (rounded down). The exact event time that the guard needs is in `_event_time_us`, and a
  timestamp in a key becomes an RFC 3339 text, since two keys must never fall together.
- json is its text.
- a decimal in a key has as many digits after the point as the contract says.
- a list can't hold null, and a key of one field can't be empty: such a row is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import partial
from typing import Any

import msgspec

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.newest import RowVersion
from clearwell.destinations.shape import RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

EVENT_TIME_US = "_event_time_us"
"""Microseconds since 1970 of the event time; null where there is none."""

OURS: Mapping[str, str] = {EVENT_TIME_US: "bigint", RAW_TOPIC: "text", RAW_PARTITION: "int", RAW_OFFSET: "bigint"}
TAKEN = frozenset(OURS)
"""Names that a field can't have."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_EXACT = Context(prec=76)  # twice the digits that a contract's decimal has at most

_TYPES: Mapping[Type, str] = {
    Type.STRING: "text",
    Type.INT32: "int",
    Type.INT64: "bigint",
    Type.FLOAT64: "double",
    Type.DECIMAL: "decimal",
    Type.BOOL: "boolean",
    Type.TIMESTAMP: "timestamp",
    Type.DATE: "date",
    Type.JSON: "text",
    Type.BYTES: "blob",
}

Row = dict[str, Any]
Convert = Callable[[Any], Any]


def columns(schema: CleanSchema) -> dict[str, str]:
    """Column types by name, ours too."""
    return {field.name: column_type(field, field.name in schema.key) for field in schema.fields} | dict(OURS)


def column_type(field: Field, in_key: bool) -> str:
    """As `system_schema.columns` spells it."""
    stored = field.clean_type
    if stored is Type.LIST:
        return f"frozen<list<{_TYPES[field.items or Type.STRING]}>>"
    return "text" if in_key and stored is Type.TIMESTAMP else _TYPES[stored]


def row_maker(schema: CleanSchema) -> Callable[[Sequence[Any], str, int, int], Row]:
    """A function (row, raw topic, raw partition, raw offset) -> values by column.

    It raises ValueError for a null in a list, and for json that is not Unicode.
    """
    names = [field.name for field in schema.fields]
    converters = [(field.name, convert) for field in schema.fields if (convert := _converter(field, schema))]

    def make(values: Sequence[Any], raw_topic: str, raw_partition: int, raw_offset: int) -> Row:
        row = dict(zip(names, values, strict=True))
        time: datetime | None = row[schema.event_time]
        for name, convert in converters:
            if row[name] is not None:
                row[name] = convert(row[name])
        row[EVENT_TIME_US] = None if time is None else (time - _EPOCH) // _MICROSECOND
        return row | {RAW_TOPIC: raw_topic, RAW_PARTITION: raw_partition, RAW_OFFSET: raw_offset}

    return make


def version_of(row: Mapping[str, Any]) -> RowVersion:
    """What tells which of two rows is newer; a row that is gone is older than any."""
    values: list[Any] = [row.get(name) for name in OURS]
    time, raw_topic, raw_partition, raw_offset = values
    return RowVersion(None if time is None else _EPOCH + time * _MICROSECOND, raw_topic, raw_offset, raw_partition)


def _converter(field: Field, schema: CleanSchema) -> Convert | None:
    stored, in_key = field.clean_type, field.name in schema.key
    if stored is Type.LIST:
        return partial(_items, _milliseconds if field.items is Type.TIMESTAMP else None)
    if stored is Type.TIMESTAMP:
        return _rfc3339 if in_key else _milliseconds
    if stored is Type.DECIMAL and in_key:
        return partial(_scaled, field.scale or 0)
    return _json if stored is Type.JSON else None


def _items(convert: Convert | None, items: Sequence[Any]) -> Sequence[Any]:
    if None in items:  # which the driver would take for an empty one
        raise ValueError("a list can't hold null")
    return items if convert is None else [convert(item) for item in items]


def _scaled(scale: int, value: Decimal) -> Decimal:
    """1.5 and 1.50 are two keys there."""
    return value.quantize(Decimal(1).scaleb(-scale), context=_EXACT)


def _milliseconds(value: datetime) -> int:
    return (value - _EPOCH) // _MILLISECOND


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

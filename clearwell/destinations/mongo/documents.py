"""Rows as MongoDB documents: ids, typed values, and the JSON Schema that the collection is checked with.

Where BSON is narrower than the contract:
- timestamps keep milliseconds (truncated). The exact event time that the guard needs is in `_event_time_us`, and a
  timestamp in a key becomes an RFC 3339 string, since two keys must never fall together.
- dates become midnight UTC.
- a decimal of more than 34 digits, which Decimal128 can't hold, is stored as its exact string.
- keys inside a json value that start with $ or hold a dot are percent-encoded ($ -> %24, . -> %2E, % -> %25), so that
  no stored value can be taken for an operator, a path or a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.shape import IDENTITY, RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

EVENT_TIME_US = "_event_time_us"
"""Microseconds since 1970 of the event time, an int64; `NO_EVENT_TIME` where there is none."""

NO_EVENT_TIME = -(2**63)
TAKEN = frozenset((*IDENTITY, EVENT_TIME_US, "_id"))
"""Names that a field can't have."""

Document = dict[str, Any]
Convert = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DECIMAL_DIGITS = 34  # of IEEE 754 decimal128

_BSON_TYPES: Mapping[Type, str | list[str]] = {
    Type.STRING: "string",
    Type.INT32: "int",
    Type.INT64: ["int", "long"],  # the driver picks the narrower
    Type.FLOAT64: "double",
    Type.DECIMAL: ["decimal", "string"],
    Type.BOOL: "bool",
    Type.TIMESTAMP: "date",
    Type.DATE: "date",
    Type.BYTES: "binData",
}


def document_maker(schema: CleanSchema) -> Callable[[tuple[Any, ...], str, int, int], Document]:
    """A function (row, raw topic, raw partition, raw offset) -> document.

    It raises ValueError, TypeError or ArithmeticError for a value BSON can't hold.
    """
    names = [field.name for field in schema.fields]
    all_names = ("_id", *names, EVENT_TIME_US, RAW_TOPIC, RAW_PARTITION, RAW_OFFSET)
    converted = [(field.name, convert) for field in schema.fields if (convert := converter(field)) is not None]
    time_at = names.index(schema.event_time)
    make_id = _id_maker(schema)

    def make(row: tuple[Any, ...], raw_topic: str, raw_partition: int, raw_offset: int) -> Document:
        event_time = event_time_us(row[time_at])
        values = (make_id(row), *row, event_time, raw_topic, raw_partition, raw_offset)
        document: Document = dict(zip(all_names, values, strict=True))
        for name, convert in converted:
            if document[name] is not None:
                document[name] = convert(document[name])
        return document

    return make


def event_time_us(value: datetime | None) -> int:
    """The event time as an exact, ordered int64."""
    return NO_EVENT_TIME if value is None else (value - _EPOCH) // _MICROSECOND


def converter(field: Field) -> Convert | None:
    """How a value of `field` becomes BSON; None where the driver takes it as it is."""
    stored = field.clean_type
    if stored is Type.LIST:
        each = _CONVERTERS.get(field.items or Type.STRING)
        return None if each is None else lambda items: [None if item is None else each(item) for item in items]
    return _CONVERTERS.get(stored)


def validator(schema: CleanSchema) -> dict[str, Any]:
    """MongoDB's own $jsonSchema of the documents; every field but the key may be null."""
    properties = {field.name: _bson_schema(field, field.name in schema.key) for field in schema.fields}
    properties |= {
        EVENT_TIME_US: {"bsonType": ["int", "long"]},
        RAW_TOPIC: {"bsonType": "string"},
        RAW_PARTITION: {"bsonType": "int"},
        RAW_OFFSET: {"bsonType": ["int", "long"]},
    }
    required = ["_id", *schema.key, EVENT_TIME_US, *IDENTITY]
    return {"$jsonSchema": {"bsonType": "object", "required": required, "properties": properties}}


def type_name(field: Field) -> str:
    """The stored type in words, to tell whether it has changed: "int32", "decimal(38,9)", "list of string"."""
    stored = field.clean_type
    if stored is Type.LIST:
        return f"list of {field.items or Type.STRING}"
    return f"decimal({field.precision},{field.scale})" if stored is Type.DECIMAL else stored.value


def _bson_schema(field: Field, in_key: bool) -> dict[str, Any]:
    stored = field.clean_type
    if stored is Type.JSON:
        return {}
    types = "array" if stored is Type.LIST else _BSON_TYPES[stored]
    listed = [types] if isinstance(types, str) else list(types)
    return {"bsonType": listed if in_key else [*listed, "null"]}


def _id_maker(schema: CleanSchema) -> Convert:
    parts = []
    for name in schema.key:
        index = [field.name for field in schema.fields].index(name)
        field = schema.field(name)
        convert = _rfc3339 if field.clean_type is Type.TIMESTAMP else converter(field) or _as_it_is
        parts.append((name, index, convert))
    if len(parts) == 1:
        _, only, convert_only = parts[0]
        return lambda row: convert_only(_present(row[only]))
    return lambda row: {name: convert(_present(row[index])) for name, index, convert in parts}


def _present(value: Any) -> Any:
    if value is None:
        raise ValueError("a field of the key is null")
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _midnight(value: date) -> datetime:
    return datetime.combine(value, time(), UTC)


def _decimal(value: Decimal) -> Decimal128 | str:
    # Not left to the driver: it would signal Inexact, or clamp an exponent.
    return Decimal128(value) if len(value.as_tuple().digits) <= _DECIMAL_DIGITS else str(value)


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {_safe_key(name): _json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return _decimal(Decimal(value))
    return value


def _safe_key(name: str) -> str:
    if "%" in name or "." in name or name.startswith("$"):
        name = name.replace("%", "%25").replace(".", "%2E")
        return f"%24{name[1:]}" if name.startswith("$") else name
    return name


_CONVERTERS: Mapping[Type, Convert] = {Type.DECIMAL: _decimal, Type.DATE: _midnight, Type.JSON: _json}

"""Rows as documents: their ids, and the mapping of an index that a contract asks for.

A document's `_source` holds the event as it is in the clean topic, exactly: what is indexed beside it may be narrower.
- timestamps and dates are searched to the millisecond; the guard compares `_event_time_us`, which is exact.
- decimals are strings that are searched as doubles.
- texts of more than 8,191 characters are kept, not searched; so are bytes, and all that is inside a json value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.newest import key_of
from clearwell.destinations.shape import IDENTITY, RAW_OFFSET, RAW_PARTITION, RAW_TOPIC

EVENT_TIME_US = "_event_time_us"
"""Microseconds since 1970 of the event time; `NO_EVENT_TIME` where there is none."""

NO_EVENT_TIME = -(2**63)
TAKEN = frozenset((*IDENTITY, EVENT_TIME_US, "_id", "_index", "_source", "_routing", "_field_names", "_ignored"))
TAKEN |= {"_version", "_seq_no", "_primary_term", "_doc_count", "_nested_path", "_type", "_tier", "_size"}
"""Names that a field can't have: ours, and those of metadata in OpenSearch and Elasticsearch."""

LONGEST_ID = 512  # bytes, of both servers
_HASHED = "sha256:"
_LONGEST_TERM = 8191  # characters; Lucene's 32,766 bytes, of up to four bytes each
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TYPES: Mapping[Type, Mapping[str, Any]] = {
    Type.STRING: {"type": "keyword", "ignore_above": _LONGEST_TERM},
    Type.INT32: {"type": "integer"},
    Type.INT64: {"type": "long"},
    Type.FLOAT64: {"type": "double"},
    Type.DECIMAL: {"type": "double"},
    Type.BOOL: {"type": "boolean"},
    Type.TIMESTAMP: {"type": "date", "format": "strict_date_optional_time"},
    Type.DATE: {"type": "date", "format": "strict_date"},
    Type.JSON: {"type": "object", "enabled": False},
    Type.BYTES: {"type": "binary"},
}
_OURS: Mapping[str, Mapping[str, Any]] = {
    EVENT_TIME_US: {"type": "long"},
    RAW_TOPIC: {"type": "keyword"},
    RAW_PARTITION: {"type": "integer"},
    RAW_OFFSET: {"type": "long"},
}


def document_maker(schema: CleanSchema) -> Callable[[tuple[Any, ...], str, int, int], tuple[str, bytes]]:
    """A function (row, raw topic, raw partition, raw offset) -> (id, JSON).

    It raises ValueError when a field of the key is null, and UnicodeEncodeError for a text that is not Unicode.
    """
    names = (*(field.name for field in schema.fields), EVENT_TIME_US, RAW_TOPIC, RAW_PARTITION, RAW_OFFSET)
    time_at = names.index(schema.event_time)
    key = key_of(schema)
    encode = msgspec.json.Encoder().encode

    def make(row: tuple[Any, ...], raw_topic: str, raw_partition: int, raw_offset: int) -> tuple[str, bytes]:
        values = (*row, event_time_us(row[time_at]), raw_topic, raw_partition, raw_offset)
        return document_id(key(row)), encode(dict(zip(names, values, strict=True)))

    return make


def document_id(key: Any) -> str:
    """The id of a key: a text as it is, others as JSON; hashed when it is longer than an id may be, or empty.

    Raises ValueError when the key, or a part of it, is null.
    """
    if key is None or (isinstance(key, tuple) and None in key):
        raise ValueError("a field of the key is null")
    text = key if isinstance(key, str) else msgspec.json.encode(key).decode()
    if not text or text.startswith(_HASHED) or len(text.encode()) > LONGEST_ID:  # so that no text looks like a hash
        return _HASHED + hashlib.sha256(text.encode()).hexdigest()
    return text


def event_time_us(value: datetime | None) -> int:
    """The event time as an exact, ordered int64."""
    return NO_EVENT_TIME if value is None else (value - _EPOCH) // _MICROSECOND


def properties(schema: CleanSchema) -> dict[str, Any]:
    """The fields of the index, by name. What the contract calls a type is kept in each field's `meta`."""
    return {field.name: _property(field) for field in schema.fields} | {name: dict(of) for name, of in _OURS.items()}


def type_name(field: Field) -> str:
    """The stored type in words, to tell whether it has changed: "int32", "decimal(38,9)", "list of string"."""
    stored = field.clean_type
    if stored is Type.LIST:
        return f"list of {field.items or Type.STRING}"
    return f"decimal({field.precision},{field.scale})" if stored is Type.DECIMAL else stored.value


def _property(field: Field) -> dict[str, Any]:
    stored = field.clean_type
    of = dict(_TYPES[(field.items or Type.STRING) if stored is Type.LIST else stored])
    return of if of["type"] == "object" else of | {"meta": {"contract": type_name(field)}}  # objects have no `meta`

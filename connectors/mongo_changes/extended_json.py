"""BSON as JSON without loss, and a change of a document as an event."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Literal
from uuid import UUID

import bson
import msgspec
from bson import CodecOptions, Decimal128, Int64, ObjectId, Timestamp, json_util
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.codec_options import DatetimeConversion

from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent, refuse

Dialect = Literal["plain", "relaxed", "canonical"]
Envelope = Literal["row", "change"]
Document = Mapping[str, Any]

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    tzinfo=UTC,
    uuid_representation=UuidRepresentation.UNSPECIFIED,  # UUIDs stay what they are in BSON: a `Binary` with its subtype
    unicode_decode_error_handler="backslashreplace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,  # years that Python does not know come as milliseconds
)

ADDED = frozenset(("_op", "_ns", "_cluster_time", "_deleted", "_document_gone"))
"""Fields that the envelope `row` adds: a document that has one of its own would lose it."""

_OPS = {"insert": "c", "update": "u", "replace": "u", "delete": "d"}
_encode = msgspec.json.Encoder().encode
_WHOLE = {"tz_aware": True, "tzinfo": UTC, "datetime_conversion": DatetimeConversion.DATETIME_AUTO}
_FORMS = {
    "relaxed": json_util.RELAXED_JSON_OPTIONS.with_options(**_WHOLE),
    "canonical": json_util.CANONICAL_JSON_OPTIONS.with_options(**_WHOLE),
}
_UUID_BYTES = 16


def encoder(dialect: Dialect) -> Callable[[Any], bytes]:
    """Encodes a document or value in one of the dialects."""
    if dialect == "plain":
        return lambda value: _encode(_plain(value))
    form = _FORMS[dialect]
    return lambda value: json_util.dumps(value, json_options=form).encode(errors="backslashreplace")


def to_text(value: Any) -> str:
    """A value as canonical Extended JSON, in which `from_text` reads just the same value again."""
    return json_util.dumps({"v": value}, json_options=_FORMS["canonical"])


def from_text(text: str) -> Any:
    """The value again. Raises ValueError."""
    try:
        return json_util.loads(text, json_options=_FORMS["canonical"])["v"]
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError from error


def _plain(value: Any) -> Any:
    """What JSON can say of a BSON value; what it has no word for as canonical Extended JSON."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else _by_name(value)
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return format(number, "f") if number.is_finite() else _by_name(number)  # as a contract's decimal takes it
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == _UUID_BYTES:
        return UUID(bytes=value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, datetime):  # a DatetimeMS is none
        return value
    return _plain(json_util.default(value, json_options=_FORMS["canonical"]))


def _by_name(value: float | Decimal) -> str:
    nan = value.is_nan() if isinstance(value, Decimal) else value != value
    return "NaN" if nan else "Infinity" if value > 0 else "-Infinity"


def cluster_time(time: Timestamp) -> str:
    """ISO 8601; the counter within the second is written as microseconds, so that the order of changes is kept."""
    moment = datetime.fromtimestamp(time.time, UTC) + timedelta(microseconds=min(time.inc, 999_999))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Events:
    """Makes events."""

    def __init__(self, dialect: Dialect, envelope: Envelope) -> None:
        """See the configuration's options `json` and `envelope`."""
        self._encode = encoder(dialect)
        self._flat = envelope == "row"

    def of_change(self, change: Document, time: tuple[int, int], index: int) -> SourceEvent:
        """A change event of the server, the `index`th of its cluster time.

        Its id is made of these alone: a resume token holds the document's _id, which may be personal (invariant 9).
        """
        return self._event(f"{time[0]}.{time[1]}#{index}", change)

    def of_document(self, collection: str, database: str, document: Document, time: Timestamp) -> SourceEvent:
        """A document of a snapshot: the same content has the same id, whenever it is read."""
        digest = blake2b(self._content(document), digest_size=12).hexdigest()
        event_id = f"{collection}/{_id_text(document['_id'])}/{digest}"
        return self._event(event_id, _change_of_snapshot(collection, database, document, time))

    def _content(self, document: Document) -> bytes:
        try:
            return self._encode(document)
        except Exception:  # what can't be written is refused below; it needs an id all the same
            return bson.encode(document, codec_options=CODEC)

    def _event(self, event_id: str, change: Document) -> SourceEvent:
        """One event, whatever values are in it: what can't be written is refused, and its neighbours flow."""
        if self._flat and ADDED & (change.get("fullDocument") or {}).keys():
            return SourceEvent(event_id, f"refused: {Refusal.NAME_TAKEN}".encode(), Refusal.NAME_TAKEN)
        try:
            data = self._encode(_row(change) if self._flat else change)
        except Exception:  # of PyMongo, msgspec or Python: all mean the same
            return SourceEvent(event_id, f"refused: {Refusal.NOT_JSON}".encode(), Refusal.NOT_JSON)
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)


def _change_of_snapshot(collection: str, database: str, document: Document, time: Timestamp) -> dict[str, Any]:
    return {
        "operationType": "read",
        "clusterTime": time,
        "fullDocument": document,
        "ns": {"db": database, "coll": collection},
        "documentKey": {"_id": document["_id"]},
    }


def _row(change: Document) -> dict[str, Any]:
    """The document, flat, with our fields behind it; of one that is gone its key alone."""
    kind = str(change["operationType"])
    op = "r" if kind == "read" else _OPS.get(kind, kind)
    document = change.get("fullDocument")
    row: dict[str, Any] = dict(document if document is not None else change.get("documentKey") or {})
    space = change.get("ns") or {}
    row["_op"] = op
    row["_ns"] = ".".join(space[part] for part in ("db", "coll") if part in space)
    time = change.get("clusterTime")
    row["_cluster_time"] = None if time is None else cluster_time(time)
    if op == "d":
        row["_deleted"] = True
    elif op == "u" and document is None:
        row["_document_gone"] = True
    return row


def _id_text(value: Any) -> str:
    return str(value) if type(value) in (str, int, bool, Int64, ObjectId) else to_text(value)

"""Every type of BSON as an event and as a place of a snapshot: nothing stops a collection or becomes another value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
import msgspec
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from clearwell.source import Refusal
from connectors.mongo_changes.extended_json import CODEC, Events, from_text, to_text

AN_ID = ObjectId("65a000000000000000000001")
OID = {"$oid": str(AN_ID)}
UUID_TEXT = "00000000-0000-0000-0000-000000000007"
VALUES: dict[str, tuple[Any, Any]] = {
    "a UUID": (Binary(UUID(UUID_TEXT).bytes, 4), UUID_TEXT),
    "a UUID of an old driver": (Binary(UUID(UUID_TEXT).bytes, 3), "AAAAAAAAAAAAAAAAAAAABw=="),
    "a UUID that is cut off": (Binary(b"\0\7", 4), "AAc="),
    "binary": (b"\x00\xff", "AP8="),
    "binary of a user": (Binary(b"\x00\xff", 128), "AP8="),
    "code": (Code("function(){}"), {"$code": "function(){}"}),
    "code in a scope": (Code("f", {"x": AN_ID}), {"$code": "f", "$scope": {"x": OID}}),
    "a regular expression": (Regex("^a", "i"), {"$regularExpression": {"pattern": "^a", "options": "i"}}),
    "a regular expression that Python has not": (
        Regex("(?<n>(", ""),
        {"$regularExpression": {"pattern": "(?<n>(", "options": ""}},
    ),
    "a reference": (DBRef("c", AN_ID, "d"), {"$ref": "c", "$id": OID, "$db": "d"}),
    "a reference by UUID": (
        DBRef("c", Binary(UUID(UUID_TEXT).bytes, 4)),
        {"$ref": "c", "$id": {"$binary": {"base64": "AAAAAAAAAAAAAAAAAAAABw==", "subType": "04"}}},
    ),
    "the least key": (MinKey(), {"$minKey": 1}),
    "the largest key": (MaxKey(), {"$maxKey": 1}),
    "a timestamp": (Timestamp(5, 6), {"$timestamp": {"t": 5, "i": 6}}),
    "a decimal": (Decimal128("12345678901234567890.0100"), "12345678901234567890.0100"),
    "the largest decimal": (Decimal128("1E+6144"), "1" + "0" * 6144),
    "the least decimal": (Decimal128("1E-6176"), "0." + "0" * 6175 + "1"),
    "a decimal that is none": (Decimal128("NaN"), "NaN"),
    "a signalling decimal": (Decimal128("sNaN"), "NaN"),
    "an infinite decimal": (Decimal128("-Infinity"), "-Infinity"),
    "a float that is none": (float("nan"), "NaN"),
    "an infinite float": (float("inf"), "Infinity"),
    "a large number": (Int64(2**63 - 1), 2**63 - 1),
    "a float": (0.1, 0.1),
    "a whole float": (1.0, 1.0),
    "true": (True, True),
    "a date": (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00Z"),
    "a date after 9999": (DatetimeMS(2**60), {"$date": {"$numberLong": str(2**60)}}),
    "a date before 1": (DatetimeMS(-(2**60)), {"$date": {"$numberLong": str(-(2**60))}}),
    "null": (None, None),
    "an object": ({"a": [AN_ID, {"b": Code("x")}]}, {"a": [str(AN_ID), {"b": {"$code": "x"}}]}),
    "text with a NUL": ("a\0b", "a\0b"),
}


def stored(value: Any) -> Any:
    """As the server gives it back."""
    return bson.decode(bson.encode({"v": value}, codec_options=CODEC), codec_options=CODEC)["v"]


NO_PLACES = (  # no _id may be an expression, and all that is no number sorts alike
    "a regular expression",
    "a regular expression that Python has not",
    "a signalling decimal",
)


@pytest.mark.parametrize("envelope", ["row", "change"])
@pytest.mark.parametrize("dialect", ["plain", "relaxed", "canonical"])
@pytest.mark.parametrize("what", VALUES)
def test_every_type_is_an_event(what: str, dialect: Any, envelope: Any) -> None:
    value, expected = VALUES[what]
    document = {"_id": 1, "v": stored(value)}
    event = Events(dialect, envelope).of_document("c", "d", document, Timestamp(1, 1))
    assert event.refused is None
    whole = msgspec.json.decode(event.data)
    if dialect == "plain":
        assert (whole if envelope == "row" else whole["fullDocument"])["v"] == expected


@pytest.mark.parametrize("what", [one for one in VALUES if one not in NO_PLACES])
def test_every_type_is_a_place_in_a_snapshot(what: str) -> None:
    """What the position keeps is the same value to the server, byte for byte."""
    value = stored(VALUES[what][0])
    again = from_text(to_text(value))
    assert bson.encode({"v": again}, codec_options=CODEC) == bson.encode({"v": value}, codec_options=CODEC)
    assert to_text(again) == to_text(value)
    event = Events("plain", "row").of_document("c", "d", {"_id": value}, Timestamp(1, 1))
    assert event.refused is None and event.id.startswith("c/")


@pytest.mark.parametrize("dialect", ["plain", "relaxed"])
def test_what_nobody_foresaw_is_one_refused_event(dialect: Any) -> None:
    """A type that a later driver may bring."""
    strange = {"_id": 1, "v": object()}
    change = {"operationType": "insert", "fullDocument": strange, "ns": {"db": "d", "coll": "c"}}
    event = Events(dialect, "row").of_change(change, (1, 1), 0)
    assert (event.id, event.refused) == ("1.1#0", Refusal.NOT_JSON)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(event.data)


def test_a_field_that_would_be_overwritten_is_refused() -> None:
    document = {"_id": 1, "_op": "mine"}
    assert Events("plain", "row").of_document("c", "d", document, Timestamp(1, 1)).refused is Refusal.NAME_TAKEN
    whole = Events("plain", "change").of_document("c", "d", document, Timestamp(1, 1))
    assert msgspec.json.decode(whole.data)["fullDocument"]["_op"] == "mine"


def test_raw_documents_are_mappings_too() -> None:
    raw = RawBSONDocument(bson.encode({"a": 1}))
    event = Events("plain", "row").of_document("c", "d", {"_id": 1, "v": raw}, Timestamp(1, 1))
    assert msgspec.json.decode(event.data)["v"] == {"a": 1}

"""Every type goes into every store and comes back, extremes included; what a store narrows is stated here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from clearwell.contract.model import CleanSchema, Field, Privacy, PrivacyKind, Type
from clearwell.errors import ConfigError
from tests.conformance.stores import SIMPLE, START, Event, Opener, StoreUnderTest, batch_of

ENCRYPT = Privacy(PrivacyKind.ENCRYPT)

ALL = CleanSchema(
    stream="types",
    version=1,
    fields=(
        Field("id", Type.STRING, required=True),
        Field("at", Type.TIMESTAMP),
        Field("small", Type.INT32),
        Field("big", Type.INT64),
        Field("real", Type.FLOAT64),
        Field("exact", Type.DECIMAL, precision=34, scale=9),
        Field("flag", Type.BOOL),
        Field("day", Type.DATE),
        Field("free", Type.JSON),
        Field("raw", Type.BYTES),
        Field("words", Type.LIST, items=Type.STRING),
        Field("numbers", Type.LIST, items=Type.INT32),
        Field("amounts", Type.LIST, items=Type.DECIMAL, precision=20, scale=2),
        Field("days", Type.LIST, items=Type.DATE),
        Field("times", Type.LIST, items=Type.TIMESTAMP),
        Field("secret_number", Type.INT32, privacy=ENCRYPT),
        Field("secret_time", Type.TIMESTAMP, privacy=Privacy(PrivacyKind.HASH)),
        Field("age", Type.INT32, privacy=Privacy(PrivacyKind.GENERALISE, 10)),
    ),
    key=("id",),
    event_id="id",
    event_time="at",
)
NAMES = tuple(field.name for field in ALL.fields)
NOTHING = dict.fromkeys(NAMES)
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

ROWS: list[dict[str, Any]] = [
    NOTHING | {"id": "nothing"},
    NOTHING | {"id": "lowest", "at": FIRST, "small": -(2**31), "big": -(2**63), "real": -1.7976931348623157e308}
    | {"exact": Decimal("-9999999999999999999999999.999999999"), "flag": False, "day": date(1, 1, 1), "raw": b""}
    | {"free": [], "words": [], "numbers": [-(2**31)], "amounts": [], "days": [date(1, 1, 1)], "times": [FIRST]},
    NOTHING | {"id": "highest", "at": LAST, "small": 2**31 - 1, "big": 2**63 - 1, "real": 5e-324}
    | {"exact": Decimal("0.000000001"), "flag": True, "day": date(9999, 12, 31), "raw": bytes(range(256))}
    | {"words": ["", "é"], "numbers": [2**31 - 1, 0], "amounts": [Decimal("-0.01")], "times": [LAST], "age": 40},
    NOTHING | {"id": "x" * 10_000, "words": ["𝄞", "\U0010ffff"], "secret_number": "cw1.k.AAAA", "secret_time": "5f"},
    NOTHING | {"id": "𝄞 — \u202e \x01 '\"\\;--", "free": {"a": {"$where": 1, "b.c": ["$x", None, 1.5], "50%": "."}}},
    NOTHING | {"id": "dbref", "free": {"$ref": "c", "$id": 1, "": {"deep": 2**63 - 1}}},
]  # fmt: skip


def in_mongo(value: Any) -> Any:
    """What MongoDB keeps of a value: milliseconds, dates as midnight, percent-encoded keys."""
    if isinstance(value, datetime):
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, Decimal):
        return Decimal128(value)
    if isinstance(value, list):
        return [in_mongo(one) for one in value]
    if isinstance(value, dict):
        safe = {"$where": "%24where", "b.c": "b%2Ec", "50%": "50%25", "$ref": "%24ref", "$id": "%24id"}
        return {safe.get(name, name): in_mongo(inner) for name, inner in value.items()}
    return value


def test_every_type_round_trips(store: StoreUnderTest, opened: Opener) -> None:
    destination = opened(schema=ALL)
    claim = destination.claim("clean-a", 0, 1)
    rows = [tuple(row[name] for name in NAMES) for row in ROWS]
    topics, offsets = ["raw-a"] * len(rows), list(range(len(rows)))
    whole = batch_of([], claim, 6, rows=rows, raw_topics=topics, raw_offsets=offsets)
    destination.write(whole)
    kept = in_mongo if store.name == "mongo" else lambda value: value
    found = {row["id"]: {name: row[name] for name in NAMES} for row in store.rows()}
    assert found == {row["id"]: {name: kept(value) for name, value in row.items()} for row in ROWS}


CHANGES = {
    "a changed type": (replace(SIMPLE, fields=(*SIMPLE.fields[:2], Field("number", Type.INT64))), '"number"'),
    "another key": (replace(SIMPLE, key=("at",)), "key"),
}


@pytest.mark.parametrize(("schema", "named"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_that_is_no_addition_is_refused(
    store: StoreUnderTest, opened: Opener, schema: CleanSchema, named: str
) -> None:
    if store.name == "memory":
        pytest.skip("memory has no tables")
    destination = opened()
    destination.write(batch_of([Event("a", START, 1, raw_offset=0)], destination.claim("clean-a", 0, 1), 1))
    with pytest.raises(ConfigError, match=f"{named}.* in the route"):
        opened(schema=schema)
    assert destination.held() == 1


BAD_SCHEMAS: dict[str, Callable[[], CleanSchema]] = {
    "a name with a quote": lambda: replace(SIMPLE, fields=(*SIMPLE.fields, Field('x"; DROP', Type.STRING))),
    "a name that is ours": lambda: replace(SIMPLE, fields=(*SIMPLE.fields, Field("_raw_topic", Type.STRING))),
    "an event time that is protected": lambda: replace(
        SIMPLE, fields=(SIMPLE.fields[0], replace(SIMPLE.fields[1], privacy=ENCRYPT))
    ),
    "a json key": lambda: replace(SIMPLE, fields=(*SIMPLE.fields, Field("any", Type.JSON)), key=("any",)),
    "a key that is no field": lambda: replace(SIMPLE, key=("nowhere",)),
}


@pytest.mark.parametrize("bad", BAD_SCHEMAS.values(), ids=BAD_SCHEMAS.keys())
def test_a_schema_that_no_store_can_hold_is_refused(opened: Opener, bad: Callable[[], CleanSchema]) -> None:
    with pytest.raises(ConfigError, match="flights"):
        opened(schema=bad())

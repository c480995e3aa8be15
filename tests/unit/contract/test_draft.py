"""Drafts of contracts from samples: types, roles, personal fields, and the samples themselves through the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clearwell.contract.draft import draft, stream_name
from clearwell.contract.load import parse
from clearwell.contract.model import Contract, Type
from clearwell.contract.personal import likely_personal
from clearwell.contract.privacy import PrivacyKind
from clearwell.control.contract_checks import check_contracts
from clearwell.pipeline import RawBatch
from clearwell.pipeline.compiler import compile
from clearwell.privacy.memory_keyring import MemoryKeyring

ORDERS = [
    {
        "order_id": f"o-{n}",
        "event_id": 9_000_000_000 + n,
        "createdAt": f"2024-03-{n % 28 + 1:02d}T10:00:00+01:00",
        "email": f"canary{n}@example.org",
        "customerPhone": f"+49 30 5550{n:03d}",
        "ship_to": {"street": "Main Street 1", "lines": [{"sku": "a", "n": n}]},
        "amount": f"{n}.50",
        "weight": n / 2 if n % 2 else n,
        "paid": n % 2 == 0,
        "day": "2024-03-01",
        "tags": ["a", "b"],
        "note": None if n % 4 else "leave it",
        "items": n,
    }
    for n in range(40)
]


def drafted(rows: list[dict[str, Any]], declared: Mapping[str, str] | None = None, stream: str = "orders") -> Contract:
    return parse(draft(stream, rows, declared).text, f"{stream}/v1.yaml")


def test_types_roles_and_protection_come_from_the_samples() -> None:
    contract = drafted(ORDERS)
    fields = {field.name: field for field in contract.fields}
    assert {name: field.type.value for name, field in fields.items()} == {
        "order_id": "string",
        "event_id": "int64",
        "createdAt": "timestamp",
        "email": "string",
        "customerPhone": "string",
        "ship_to": "json",
        "amount": "decimal",
        "weight": "float64",
        "paid": "bool",
        "day": "date",
        "tags": "list",
        "note": "string",
        "items": "int64",
    }
    assert (contract.key, contract.event_id, contract.event_time) == (("order_id",), "event_id", "createdAt")
    assert {name for name, field in fields.items() if not field.required} == {"note"}
    assert {name for name, field in fields.items() if field.privacy} == {"email", "customerPhone", "ship_to"}
    assert fields["tags"].items is Type.STRING


def test_the_samples_pass_the_drafted_contract() -> None:
    pipeline = compile(drafted(ORDERS), MemoryKeyring())
    values = [msgspec.json.encode(row) for row in ORDERS]
    batch = RawBatch("T" * 22, 0, list(range(len(values))), list(values))
    out = pipeline.process(batch, pipeline.new_state())
    assert (len(out.offsets), out.rejected, out.dropped) == (len(ORDERS), [], [])
    assert b"canary" not in b"".join(out.values)


def test_no_value_of_a_sample_is_in_the_draft() -> None:
    made = draft("orders", [*ORDERS, {"canary@example.org": 1, "Canary Street 12": 2, "fine-name": 3}])
    assert made.undeclared == 3 and '"fine-name"' in made.text
    assert "canary" not in made.text.lower() and "leave it" not in made.text and "5550" not in made.text
    assert "null in 75.6%" in made.text
    assert set(made.personal) == {"email", "customerPhone", "ship_to"}


@pytest.mark.parametrize(
    ("values", "declared", "expected"),
    [
        ([1, 2**31], None, "int64"),
        ([1, 2], "int32", "int32"),
        ([1, 2**31], "int32", "int64"),
        ([2**70, 1], None, "float64"),
        ([10**400], None, "json"),
        ([True, 1], None, "json"),
        ([1, "1"], None, "json"),
        (["1.5", "2.25"], None, "decimal"),
        (["42", "7"], None, "string"),
        (["1.5", "007"], None, "string"),
        ([1.5], "decimal", "float64"),
        (["a"], "bytes", "string"),
        (["YQ=="], "bytes", "bytes"),
        (["2013-02-29"], None, "string"),
        (["0001-01-01T00:00:00+14:00"], None, "string"),
        ([[1, None]], None, "json"),
        ([[]], None, "json"),
        ([[1], [2.5]], None, "list"),
        ([], "date", "date"),
        ([], "list", "string"),
        ([], None, "string"),
        (["x"], "no such type", "string"),
    ],
    ids=str,
)
def test_what_type_values_have(values: list[Any], declared: str | None, expected: str) -> None:
    contract = drafted([{"f": one} for one in values], {"f": declared} if declared else {"f": "string"})
    assert next(field for field in contract.fields if field.name == "f").type.value == expected


@pytest.mark.parametrize(
    ("row", "step"),
    [
        ({"id": 1, "ts": 1_700_000_000_000}, "unix_milliseconds"),
        ({"id": 1, "time": 1_700_000_000}, "unix_seconds"),
        ({"id": 1, "at": "2024-01-01 10:00:00.5"}, "%Y-%m-%d %H:%M:%S.%f"),
        ({"id": 1, "order_date": "2024-01-01"}, "%Y-%m-%d"),
    ],
)
def test_a_time_that_is_no_timestamp_is_parsed(row: dict[str, Any], step: str) -> None:
    contract = drafted([row])
    assert [(call.name, call.args["format"]) for call in contract.steps] == [("parse_time", step)]
    out = compile(contract, MemoryKeyring())
    kept = out.process(RawBatch("T" * 22, 0, [0], [msgspec.json.encode(row)]), out.new_state())
    assert len(kept.offsets) == 1


def test_what_nothing_is_fit_for_is_left_to_a_person() -> None:
    made = draft("things", [{"size": 1, "event_id": None}, {"size": 1}])
    assert made.missing == ("key", "event_id", "event_time")
    assert made.text.count("CHOOSE") == 5
    contract = parse(made.text, "things/v1.yaml")
    assert contract.event_id == "the_event_id" and contract.event_time == "event_time"


def test_the_time_of_an_event_is_not_its_id() -> None:
    made = draft("readings", [{"ts": 1_700_000_000_000 + n, "sensor": n % 3} for n in range(50)])
    assert made.missing == ("key", "event_id")


def test_a_personal_id_becomes_a_pseudonym() -> None:
    contract = drafted(
        [{"user_id": f"u{n}@example.org", "at": "2024-01-01T00:00:00Z"} for n in range(5)], stream="users"
    )
    (field,) = [field for field in contract.fields if field.name == "user_id"]
    assert contract.key == ("user_id",) and field.privacy is not None
    assert field.privacy.kind is PrivacyKind.PSEUDONYM


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("a", "jane@example.org", "e-mail"),
        ("comment", "write to jane@example.org please", "e-mail"),
        ("a", "+44 20 7946 0018", "phone"),
        ("a", "(212) 555-0147", "phone"),
        ("a", "4111 1111 1111 1111", "card"),
        ("a", 4111111111111111, "card"),
        ("a", "DE89 3704 0044 0532 0130 00", "bank"),
        ("a", "219-09-9999", "national id"),
        ("a", "QQ123456C", None),
        ("a", "AB 12 34 56 C", "national id"),
        ("a", "192.0.2.17", "IP"),
        ("a", "2001:db8::1", "IP"),
        ("a", "221B Baker Street", "postal"),
        ("a", "Lindenstraße 12", "postal"),
        ("name", "Ada Lovelace", "person's name"),
        ("a", {"b": [{"mail": "jane@example.org"}]}, "holds something that looks like an e-mail"),
        ("a", {"jane@example.org": 1}, "e-mail"),
        ("billingAddress", "x", "postal"),
        ("first_name", "x", "person's name"),
        ("dob", "1990-01-01", "birth"),
        ("phone", 2125550147, "phone"),
        ("email_verified", "yes", None),
        ("has_phone", True, None),
        ("mac_address", "x", None),
        ("a", "4111 1111 1111 1112", None),
        ("a", "DE89 3704 0044 0532 0130 01", None),
        ("a", "000-09-9999", None),
        ("a", "1.2.3", None),
        ("product_name", "blue chair", None),
        ("at", "2024-01-01T10:00:00Z", None),
        ("a", None, None),
    ],
    ids=str,
)
def test_what_looks_personal(name: str, value: Any, what: str | None) -> None:
    found = likely_personal(name, [] if value is None else [value])
    assert (what is None and found is None) or (found is not None and what is not None and what in found)


def test_one_address_in_free_text_is_enough() -> None:
    assert likely_personal("comment", ["fine"] * 999 + ["write to jane@example.org"]) is not None
    assert likely_personal("code", ["1234567890123"] * 99 + ["4111111111111111"]) is None


@pytest.mark.parametrize(
    ("offered", "name"),
    [("public.Orders", "public_orders"), ("9lives", "stream_9lives"), ("", "stream"), ("a" * 80, "a" * 63)],
)
def test_a_stream_gets_a_legal_name(offered: str, name: str) -> None:
    assert stream_name(offered) == name


def test_many_odd_fields_still_pass_the_check(tmp_path: Path) -> None:
    row: dict[str, Any] = {f"field_with_a_rather_long_name_{n}": "jane@example.org" for n in range(1_200)}
    row |= {"null": 1, "true": 2, "Null": 3, "extra": 4, "ID": 5, "id": 6}
    path = tmp_path / "true" / "v1.yaml"
    path.parent.mkdir()
    path.write_text(draft("true", [row], owner='{{ "x" }} ${a}\n').text)
    (checked,) = check_contracts([path])
    assert checked.problems == ()

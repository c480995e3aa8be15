"""What leaves: protected fields, keys, sizes, the clean codec, and what is no verdict on an event."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from clearwell.contract.load import load, parse
from clearwell.errors import Fatal
from clearwell.pipeline import RawBatch
from clearwell.pipeline import protect as output
from clearwell.pipeline.clean import CleanCodec
from clearwell.pipeline.compiler import compile
from clearwell.pipeline.examples import run_examples
from clearwell.pipeline.protect import event_id_text, one_spelling
from clearwell.privacy.envelope import SealError, unseal
from clearwell.privacy.memory_keyring import MemoryKeyring

FLIGHTS = Path(__file__).parents[3] / "schemas/flights/v1.yaml"

TEXT = """
stream: people
version: 1
owner: team@example.com
key: [id, n]
event_id: id
event_time: at
subject: name
fields:
  id: {type: string, required: true, privacy: pseudonym}
  n: {type: int32, required: true}
  at: {type: timestamp, required: true}
  name: {type: string, privacy: encrypt}
  born: {type: date, privacy: encrypt}
  worth: {type: decimal, privacy: encrypt}
  mail: {type: string, privacy: hash}
  phone: {type: string, privacy: mask}
  note: {type: string, privacy: drop}
  age: {type: int32, privacy: {generalise: 10}}
  seen: {type: timestamp, privacy: {generalise: 3600}}
  free: {type: json, privacy: encrypt}
"""
CANARY = "hunter2"
FULL = {
    "id": f"{CANARY}-1",
    "n": 7,
    "at": "2013-01-01T10:00:00Z",
    "name": f"{CANARY}-2",
    "born": "1999-12-31",
    "worth": "0.0000001",
    "mail": f"{CANARY}-3",
    "phone": f"{CANARY}-4",
    "note": f"{CANARY}-5",
    "age": 47,
    "seen": "2013-01-01T10:59:59Z",
    "free": {"a": [CANARY]},
}


def clean_one(pipeline, event):
    out = pipeline.process(RawBatch("t", 0, [0], [msgspec.json.encode(event)]), pipeline.new_state())
    assert not out.rejected, out.rejected
    return out.keys[0], msgspec.json.decode(out.values[0])


@pytest.fixture
def ring():
    return MemoryKeyring()


@pytest.fixture
def people(ring):
    return compile(parse(TEXT, "people/v1.yaml"), ring)


def test_every_protection_and_no_clear_value(people, ring):
    key, clean = clean_one(people, FULL)
    assert CANARY.encode() not in key + msgspec.json.encode(clean)
    assert list(clean) == ["id", "n", "at", "name", "born", "worth", "mail", "phone", "age", "seen", "free"]
    assert clean["id"].startswith("cwp1.")
    assert clean["mail"].startswith("cwh1.")
    assert (clean["phone"], clean["age"], clean["seen"]) == ("***", 40, "2013-01-01T10:00:00Z")
    opened = {
        name: unseal(ring, "people", name, clean["id"], clean[name]) for name in ("name", "born", "worth", "free")
    }
    assert opened == {
        "name": b"hunter2-2",
        "born": b'"1999-12-31"',
        "worth": b'"0.0000001"',
        "free": b'{"a":["hunter2"]}',
    }
    with pytest.raises(SealError):
        unseal(ring, "people", "name", "another", clean["name"])
    assert key == msgspec.json.encode([clean["id"], 7])


def test_nulls_stay_null(people):
    _, clean = clean_one(people, {name: FULL[name] for name in ("id", "n", "at")})
    assert [name for name, value in clean.items() if value is None] == [
        *("name", "born", "worth", "mail", "phone", "age", "seen", "free")
    ]


def test_pseudonyms_are_stable_and_envelopes_are_not(people):
    (_, first), (_, second) = clean_one(people, FULL), clean_one(people, FULL)
    assert (first["id"], first["mail"]) == (second["id"], second["mail"])
    assert first["name"] != second["name"]


class NoKey(MemoryKeyring):
    """Has no key for one of the two uses."""

    def __init__(self, missing: str) -> None:
        super().__init__()
        self.missing = missing

    def seal_key(self, subject):
        if self.missing == "seal":
            raise Fatal("no key")
        return super().seal_key(subject)

    def pseudonym_key(self, stream):
        if self.missing == "pseudonym":
            raise Fatal("no key")
        return super().pseudonym_key(stream)


@pytest.mark.parametrize("missing", ["seal", "pseudonym"])
def test_without_a_key_nothing_is_compiled(missing):
    with pytest.raises(Fatal):
        compile(parse(TEXT, "people/v1.yaml"), NoKey(missing))


def test_a_key_that_goes_away_ends_the_process_and_is_no_rejection():
    ring = NoKey("none yet")
    pipeline = compile(parse(TEXT, "people/v1.yaml"), ring)
    ring.missing = "seal"
    with pytest.raises(Fatal):
        clean_one(pipeline, FULL)


def test_a_mistake_in_generated_code_is_no_rejection(people):
    del people._run.__globals__["_encode"]
    with pytest.raises(NameError):
        clean_one(people, FULL)


def test_a_rotated_key_is_used_from_the_next_batch_on(people, ring):
    ring.rotate()
    _, clean = clean_one(people, FULL)
    assert clean["name"].startswith("cw1.memory-2.")


@pytest.mark.parametrize(
    ("key", "event_key"),
    [
        ("s", b"\xc3\xa9"),
        ("n", b"[5]"),
        ("at", b'["2013-01-01T10:00:00Z"]'),
        ("d", b'["1.5"]'),  # equal numbers are one key
        ("[s, d]", '["é","1.5"]'.encode()),
    ],
)
def test_the_key_of_a_clean_record(key, event_key):
    text = f"""
stream: things
version: 1
owner: a
key: {key}
event_id: n
event_time: at
fields:
  s: {{type: string, required: true}}
  n: {{type: int64, required: true}}
  d: {{type: decimal, required: true}}
  at: {{type: timestamp, required: true}}
"""
    pipeline = compile(parse(text, "things/v1.yaml"), MemoryKeyring())
    assert clean_one(pipeline, {"s": "é", "n": 5, "d": "1.50", "at": "2013-01-01T10:00:00Z"})[0] == event_key


@pytest.mark.parametrize(
    ("digits", "text"),
    [("1.50", "1.5"), ("1.5", "1.5"), ("100", "100"), ("-0.00", "0"), ("-12.000", "-12"), ("0.10", "0.1")],
)
def test_equal_decimals_are_one_text_where_texts_are_compared(digits, text):
    assert one_spelling(Decimal(digits)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (5, "5"),
        (datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC), "2013-01-01T00:00:00Z"),
        (Decimal("1.5"), "1.5"),
    ],
)
def test_event_ids_as_text(value, text):
    assert event_id_text(value) == text


def test_an_event_that_grows_too_large_is_rejected(things, monkeypatch):
    monkeypatch.setattr(output, "MAX_CLEAN_BYTES", 1000)
    t = things("s: {type: string}", ["derive: {field: long, concat: [s, s, s]}"])
    assert isinstance(t.one(s="x" * 100), dict)
    got = t.one(s="x" * 400)
    assert (got.reason, got.step) == ("the clean event is larger than 1000 bytes", "protect")


def test_a_step_that_fails_without_foresight_is_named(things):
    t = things(
        "s: {type: string}", ["trim: {fields: [s]}", "derive: {field: h, part: hour, of: at, zone: Asia/Kolkata}"]
    )
    got = t.one(at="9999-12-31T23:00:00Z")
    assert (got.step, got.reason) == ("2.derive", "the step could not process this event (OverflowError)")


def test_only_allowed_names_and_constants_enter_the_source(things):
    nasty = "x'); import os  # \\n\\u2028"
    t = things(
        f's: {{type: string, allowed: ["{nasty}", b], description: "{nasty}"}}',
        [
            f'drop_when: {{name: "{nasty}", when: {{field: s, eq: "{nasty}"}}}}',
            f'replace: {{fields: [s], pattern: "b", with: "{nasty}"}}',
        ],
    )
    assert "import" not in re.sub(r"'[^'\\]*(\\.[^'\\]*)*'|\"[^\"\\]*(\\.[^\"\\]*)*\"|#.*", "", t.pipeline.source)
    assert t.value("s", s="b") == nasty.encode().decode("unicode_escape")


def test_the_codec_gives_back_python_values(ring):
    text = """
stream: things
version: 1
owner: a
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  day: {type: date}
  d: {type: decimal}
  raw: {type: bytes}
  f: {type: float64}
  tags: {type: list, items: date}
  j: {type: json}
  who: {type: int32, privacy: mask}
  age: {type: int32, privacy: {generalise: 5}}
"""
    pipeline = compile(parse(text, "things/v1.yaml"), ring)
    event = {"id": "a", "at": "2013-01-01T12:00:00+02:00", "day": "2013-01-02", "d": "1.50", "raw": "aGk=", "f": 5}
    event |= {"tags": ["2013-01-03"], "j": {"x": [1.0, None]}, "who": 3, "age": 9}
    out = pipeline.process(RawBatch("t", 0, [0], [msgspec.json.encode(event)]), pipeline.new_state())
    codec = CleanCodec(pipeline.schema)
    (row,) = codec.decode(out.values)
    assert row == (
        "a",
        datetime.datetime(2013, 1, 1, 10, tzinfo=datetime.UTC),
        datetime.date(2013, 1, 2),
        Decimal("1.50"),
        b"hi",
        5.0,
        [datetime.date(2013, 1, 3)],
        {"x": [1.0, None]},
        "***",
        5,
    )
    assert row[1].tzinfo is datetime.UTC
    assert codec.decode_dicts(out.values) == [dict(zip(codec.names, row, strict=True))]
    older, newer = b'{"id":"a","at":"2013-01-01T00:00:00Z"}', b'{"id":"a","at":"2013-01-01T00:00:00Z","new":1}'
    assert [one[2:] for one in codec.decode([older, newer])] == [(None,) * 8] * 2


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"id":1}', b'{"id":"\xff"}'])
def test_the_codec_refuses_what_is_no_clean_event_without_quoting_it(people, value):
    with pytest.raises(Fatal, match=r"Record 2 of 2 is not a clean event of people v1"):
        CleanCodec(people.schema).decode([b"{}", value])


def test_the_examples_of_the_flights_contract_hold(ring):
    pipeline = compile(load(FLIGHTS), ring)
    results = run_examples(pipeline)
    assert results
    assert not any(one.problems for one in results)
    assert pipeline.lookback == 20_000

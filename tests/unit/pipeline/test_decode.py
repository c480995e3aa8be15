"""Raw bytes in: exact types, constraints, and every hostile event as one clear rejection that quotes nothing."""

from __future__ import annotations

import json

import pytest

from clearwell.pipeline import Outcomes, RawBatch, Rejected
from clearwell.pipeline.careful_decode import MAX_DEPTH

FIELDS = """
n: {type: int32, min: 0, max: 100}
big: {type: int64}
f: {type: float64}
d: {type: decimal, precision: 6, scale: 2, min: "-100", max: "100"}
b: {type: bool}
day: {type: date}
raw: {type: bytes, max_length: 4}
j: {type: json}
tags: {type: list, items: string, max_length: 3}
times: {type: list, items: timestamp}
sums: {type: list, items: decimal}
word: {type: string, pattern: "[a-z]+", max_length: 5}
pick: {type: string, allowed: [x, "y"]}
"""


@pytest.fixture
def typed(things):
    return things(FIELDS)


@pytest.mark.parametrize(
    ("field", "given", "clean"),
    [
        ("n", 7, 7),
        ("big", -(2**63), -(2**63)),
        ("f", 5, 5.0),
        ("f", 1e308, 1e308),
        ("d", "-12.50", "-12.50"),
        ("d", "0.0", "0.0"),
        ("b", False, False),
        ("day", "2013-02-28", "2013-02-28"),
        ("raw", "aGkh", "aGkh"),
        ("j", {"a": [1, None, {"b": "é"}]}, {"a": [1, None, {"b": "é"}]}),
        ("tags", ["a", "b\n"], ["a", "b\n"]),
        ("times", ["2013-01-01T10:00:00+02:00"], ["2013-01-01T08:00:00Z"]),
        ("sums", ["1.10"], ["1.10"]),
        ("word", "abc", "abc"),
        ("pick", "y", "y"),
        ("at", "2013-01-01T12:00:00.5-01:30", "2013-01-01T13:30:00.500000Z"),
        ("n", None, None),
        ("j", None, None),
    ],
)
def test_a_value_of_the_type_comes_out_as_it_is(typed, field, given, clean):
    assert typed.value(field, **{field: given}) == clean


@pytest.mark.parametrize(
    ("field", "given", "reason"),
    [
        ("n", 101, "n must be int32 from 0 up to 100"),
        ("n", 2**40, "n must be int32 from 0 up to 100"),
        ("n", 1.0, "not a number with a fraction"),
        ("n", "1", "not text"),
        ("n", True, "not true or false"),
        ("big", 2**63, "big must be int64"),
        ("f", "1", "f must be float64, not text"),
        ("d", 1.5, 'd must be a decimal as text, such as "12.50", not a number with a fraction'),
        ("d", "1e2", "d must be a decimal as text"),
        ("d", "1.234", "more than 6 digits, or 2 after the point"),
        ("d", "100.01", "d is above the declared bound"),
        ("d", "-101", "d is below the declared bound"),
        ("b", 1, "b must be bool"),
        ("day", "2013-02-30", "day must be a date as YYYY-MM-DD"),
        ("at", "2013-01-01T10:00:00", "at must be an RFC 3339 timestamp with an offset"),
        ("at", 1357034400, "at must be an RFC 3339 timestamp with an offset, not a whole number"),
        ("at", "0001-01-01T00:00:00+05:00", "at is outside of the years 0001 to 9999"),
        ("raw", "*", "raw must be base64 text"),
        ("raw", "aGVsbG8=", "raw must be base64 text of at most 4 bytes"),
        ("tags", ["a"] * 4, "tags must be a list of string, at most 3"),
        ("tags", ["a", None], "tags must be a list of string"),
        ("word", "ab1", "word does not match the declared pattern"),
        ("word", "ab\n", "word does not match the declared pattern"),
        ("word", "abcdef", "word must be a string of at most 5 characters"),
        ("pick", "z", "pick is not one of the allowed values"),
        ("at", None, "at is required, but is null"),
    ],
)
def test_anything_else_is_rejected_with_field_and_reason(typed, field, given, reason):
    got = typed.one(**{field: given})
    assert isinstance(got, Rejected), got
    assert reason in got.reason
    assert (got.step, got.field) == ("validate", field)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("value", "reason", "step"),
    [
        (None, "tombstone", "decode"),
        (b"", "the event is empty", "decode"),
        (b" \n", "the event is empty", "decode"),
        (b"{", "not JSON", "decode"),
        (b'{"id":"hunter2",}', "not JSON", "decode"),
        (b"[1]", "not an object", "decode"),
        (b'"hunter2"', "not an object", "decode"),
        (b"null", "not an object", "decode"),
        (b"\xef\xbb\xbf{}", "byte order mark", "decode"),
        (b'{"id":"\xff"}', "not UTF-8", "decode"),
        (b'{"id":"\xed\xa0\x80"}', "not UTF-8", "decode"),
        (b'{"id":"a","id":"hunter2"}', "written twice", "decode"),
        (b'{"id":"a","\\u0069d":"b"}', "written twice", "decode"),
        (b'{"j":{"hunter2":1,"hunter2":2}}', "written twice", "decode"),
        (b'{"id":"\\ud800hunter2"}', "lone surrogate", "decode"),
        (b'{"id":"\\udc00"}', "lone surrogate", "decode"),
        (b'{"id":"a\\u0000"}', "id holds the character NUL", "validate"),
        (b'{"id":"a\x00"}', "not JSON", "decode"),
        (b'{"j":"\\u0000"}', "j holds the character NUL", "validate"),
        (b'{"j":{"\\u0000":1}}', "j has a key that holds the character NUL", "validate"),
        (b'{"tags":["\\u0000"]}', "tags holds the character NUL", "validate"),
        (b'{"n":NaN}', "not JSON", "decode"),
        (b'{"f":Infinity}', "not JSON", "decode"),
        (b'{"f":1e999}', "f must be float64", "validate"),
        (b'{"f":' + b"9" * 5000 + b"}", "too large", "decode"),
        (b'{"f":' + b"9" * 400 + b"}", "f must be float64", "validate"),
        (b'{"n":' + b"9" * 30 + b"}", "n must be int32", "validate"),
        (b'{"j":' + b"9" * 30 + b"}", "j holds a whole number that does not fit int64", "validate"),
        (b'{"j":1e999}', "j holds a number that does not fit float64", "validate"),
        (b'{"j":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested too deep", "decode"),
        (b'{"j":' + b"[" * 100 + b"]" * 100 + b"}", f"j is nested deeper than {MAX_DEPTH} levels", "validate"),
        (b"[" * 10_000, "nested too deep", "decode"),
        (b'{"hunter2":1}', "a field that the contract does not declare", "validate"),
        (b'{"a - at `$.n`":1}', "a field that the contract does not declare", "validate"),
        (b'{"id":"a"}', "at is required, but missing", "validate"),
        (b"{}", "id is required, but missing", "validate"),
    ],
)
def test_hostile_events_are_one_rejection_each_and_their_neighbours_flow(typed, value, reason, step):
    if (
        value is not None
        and value.startswith(b'{"')
        and b'"id"' not in value
        and reason != "id is required, but missing"
    ):
        value = b'{"id":"a","at":"2013-01-01T10:00:00Z",' + value[1:]
    good = json.dumps({"id": "g", "at": "2013-01-01T10:00:00Z"}).encode()
    out: Outcomes = typed.pipeline.process(RawBatch("t", 0, [5, 6, 9], [good, value, good]), typed.pipeline.new_state())
    assert out.offsets == [5, 9]
    (rejected,) = out.rejected
    assert rejected.offset == 6
    assert reason in rejected.reason
    assert rejected.step == step
    assert SECRET not in repr(rejected)


def test_undeclared_fields_can_be_dropped_or_kept(things):
    dropping = things("n: {type: int32}", more="unknown_fields: drop")
    assert dropping.one(n=1, new={"x": 1}) == {"id": "e0", "at": "2013-01-01T10:00:00Z", "n": 1}
    keeping = things("n: {type: int32}", more="unknown_fields: keep")
    assert keeping.value("extra", n=1, new={"x": [1, "a"]}, other=None) == {"new": {"x": [1, "a"]}, "other": None}
    assert keeping.value("extra", n=1) is None


@pytest.mark.parametrize(
    "protected",
    ["ssn: {type: string, privacy: encrypt}", "ssn: {type: string, privacy: drop}"],
)
def test_what_is_kept_beside_protected_fields_is_sealed(things, protected):
    t = things(protected, more="unknown_fields: keep\nsubject: id")
    event = t.one(ssn="1", social="123-45-6789", nested={"SSN": "123-45-6789"})
    assert event["extra"].startswith("cw1.")
    assert "123-45" not in str(event)
    assert t.one(ssn="1")["extra"] is None


def test_what_is_kept_beside_a_step_that_protects_is_sealed(things):
    step = "derive: {field: who, concat: [name], privacy: hash}"
    t = things("name: {type: string}", [step], more="unknown_fields: keep")
    assert t.value("extra", name="a", other="b").startswith("cw1.")


@pytest.mark.parametrize(
    "names",
    [["SSN"], ["sSn"], ["\uff53\uff53\uff4e"], ["s\u200bsn"], ["\u017fsn"], ["a", "A"], ["\u00e9", "e\u0301"], ["ID"]],
)
def test_names_that_differ_by_case_or_form_alone_are_refused(things, names):
    t = things("ssn: {type: string}", more="unknown_fields: keep")
    said = "two names in the event differ by case or Unicode form alone"
    assert t.one(**dict.fromkeys(names, "x")) == Rejected(0, said, "validate", "")
    assert t.value("extra", ssn="a", sssn="x") == {"sssn": "x"}


@pytest.mark.parametrize("mode", ["drop", "keep"])
@pytest.mark.parametrize(
    "inner", [b"1e999", b"9" * 30, b'"\\u0000"', b'{"a":1,"a":2}', b'"\xff"', b"[" * 300 + b"]" * 300, b"tru"]
)
def test_undeclared_fields_are_still_read_in_full(things, mode, inner):
    got = things("n: {type: int32}", more=f"unknown_fields: {mode}").raw(
        b'{"id":"a","at":"2013-01-01T10:00:00Z","new":' + inner + b"}"
    )
    assert isinstance(got, Rejected)


def test_a_required_json_field_is_not_null(things):
    got = things("j: {type: json, required: true}").one(j=None)
    assert (got.reason, got.field) == ("j is required, but is null", "j")


def test_fields_may_be_called_anything(things):
    odd = things("class: {type: int32}\nlen: {type: int32}\nformat: {type: decimal}\nclass_: {type: int32}")
    assert odd.one(**{"class": 1, "len": 2, "format": "3.0", "class_": 4}) == {
        "id": "e0",
        "at": "2013-01-01T10:00:00Z",
        "class": 1,
        "len": 2,
        "format": "3.0",
        "class_": 4,
    }


def test_a_pattern_remembers_a_bounded_number_of_values(things):
    words = things('word: {type: string, pattern: "[a-z0-9]+"}')
    for number in range(5000):
        words.value("word", word=f"w{number}")
    namespace = words.pipeline._run.__globals__
    assert len(namespace["_k_word_known"]) == 4096
    assert words.value("word", word="w4999") == "w4999"
    assert isinstance(words.one(word="W"), Rejected)


def test_ordinary_events_never_take_the_slow_path(things):
    """The count of quotes is exact, whatever is null, missing, empty or nested: only odd events are read twice."""
    t = things(FIELDS)
    assert t.pipeline._run.__globals__["_k_inspect"]
    t.pipeline._run.__globals__["_k_inspect"] = None  # calling it would be a rejection
    full = {
        "n": 1,
        "big": 2,
        "f": 0.5,
        "d": "1.5",
        "b": True,
        "day": "2013-01-01",
        "raw": "aGk=",
        "word": "ab",
        "pick": "x",
    }
    full |= {"tags": ["a", ":", ""], "times": ["2013-01-01T10:00:00Z"], "sums": ["1.5"], "j": {"a": ["é", {"b": None}]}}
    for name in full:
        for event in (full, full | {name: None}, {other: full[other] for other in full if other != name}):
            assert isinstance(t.one(**event), dict)
    assert isinstance(t.raw(b' { "id" : "x" ,\n "at": "2013-01-01T10:00:00Z" } '), dict)
    assert isinstance(t.one(word="a\\"), Rejected)

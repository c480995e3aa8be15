"""Conditions: what may be written, what is refused, and what a null does."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from clearwell.contract.condition import check_condition, compile_condition, read_condition
from clearwell.contract.model import CleanSchema, Condition, Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.contract.problems import ContractProblems, Problems
from clearwell.errors import Location

WHERE = Location("x/v1.yaml", 7)
FIELDS = (
    Field("id", Type.STRING, required=True),
    Field("n", Type.INT32),
    Field("f", Type.FLOAT64),
    Field("ok", Type.BOOL),
    Field("price", Type.DECIMAL),
    Field("at", Type.TIMESTAMP),
    Field("day", Type.DATE),
    Field("raw", Type.BYTES),
    Field("any", Type.JSON),
    Field("many", Type.LIST, items=Type.INT32),
    Field("secret", Type.STRING, privacy=Privacy(PrivacyKind.ENCRYPT)),
    Field("age", Type.INT32, privacy=Privacy(PrivacyKind.GENERALISE, 10)),
)
SCHEMA = CleanSchema("x", 1, FIELDS, ("id",), "id", "at")


def read(written: Any) -> Condition:
    problems = Problems()
    found = read_condition(written, WHERE, {}, problems)
    problems.raise_any()
    assert found is not None
    return found


def holds(written: Any, **values: Any) -> bool:
    row = tuple(values.get(field.name) for field in FIELDS)
    return compile_condition(read(written), SCHEMA)(row)


@pytest.mark.parametrize(
    ("op", "constant", "less", "same", "more"),
    [
        ("eq", 5, 0, 1, 0),
        ("ne", 5, 1, 0, 1),
        ("lt", 5, 1, 0, 0),
        ("lte", 5, 1, 1, 0),
        ("gt", 5, 0, 0, 1),
        ("gte", 5, 0, 1, 1),
        ("in", [5, 7], 0, 1, 0),
        ("exists", True, 1, 1, 1),
    ],
)
def test_comparisons(op: str, constant: Any, less: int, same: int, more: int) -> None:
    assert [holds({"field": "n", op: constant}, n=n) for n in (4, 5, 6)] == [bool(one) for one in (less, same, more)]


@pytest.mark.parametrize("op", ["eq", "ne", "lt", "lte", "gt", "gte"])
def test_every_comparison_with_null_is_false_and_its_not_is_true(op: str) -> None:
    assert not holds({"field": "n", op: 5})
    assert holds({"not": {"field": "n", op: 5}})


def test_null_in_a_set_and_exists() -> None:
    assert not holds({"field": "n", "in": [1]})
    assert not holds({"field": "n", "exists": True})
    assert holds({"field": "n", "exists": False})
    assert not holds({"field": "n", "exists": False}, n=0)


def test_groups_are_plain_logic() -> None:
    one, two = {"field": "n", "gte": 1}, {"field": "f", "lt": 2.5}
    assert holds({"all": [one, two]}, n=1, f=2.0)
    assert not holds({"all": [one, two]}, n=1, f=2.5)
    assert holds({"any": [one, two]}, n=0, f=2.0)
    assert not holds({"any": [one, two]}, n=0)
    assert holds({"not": {"any": [one, {"not": two}]}}, n=0, f=0.0)


def test_types_compare_as_values() -> None:
    utc = datetime.UTC
    assert holds({"field": "price", "gt": "9"}, price=Decimal("10.00"))
    assert holds({"field": "price", "eq": "10"}, price=Decimal("10.00"))
    assert holds({"field": "at", "gte": "2013-01-01T12:00:00+02:00"}, at=datetime.datetime(2013, 1, 1, 10, tzinfo=utc))
    assert not holds({"field": "at", "gt": "2013-01-01T10:00:00Z"}, at=datetime.datetime(2013, 1, 1, 10, tzinfo=utc))
    assert holds({"field": "day", "in": ["2013-01-31"]}, day=datetime.date(2013, 1, 31))
    assert holds({"field": "raw", "eq": "aGk="}, raw=b"hi")
    assert holds({"field": "f", "eq": 1}, f=1.0)
    assert holds({"field": "id", "lt": "b"}, id="a")
    assert holds({"field": "ok", "eq": False}, ok=False)
    assert holds({"field": "any", "exists": True}, any={"a": 1})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("n", "must be a map, not text"),
        ({}, "exactly one comparison"),
        ({"field": "n"}, "exactly one comparison"),
        ({"field": "n", "gte": 1, "lt": 3}, "join several with `all`"),
        ({"eq": 1}, "needs the name of a field"),
        ({"field": 3, "eq": 1}, "needs the name of a field"),
        ({"field": "n", "eqs": 1}, 'Did you mean "eq"?'),
        ({"field": "n", "eq": None}, "write `exists: false`"),
        ({"field": "n", "exists": "yes"}, "`exists` must be true or false"),
        ({"field": "n", "in": 3}, "takes a list"),
        ({"field": "n", "in": []}, "takes a list of at least one"),
        ({"all": []}, "at least one condition"),
        ({"any": {"field": "n", "eq": 1}}, "takes a list"),
        ({"field": "n", "not": {"field": "n", "eq": 1}}, "takes no `field`"),
        ({"not": [{"field": "n", "eq": 1}]}, "must be a map, not a list"),
        ({"all": [{"field": "n", "eq": 1}, {"field": "n", "es": 1}]}, '"es" is not a word'),
    ],
)
def test_what_is_no_condition(written: Any, said: str) -> None:
    with pytest.raises(ContractProblems) as caught:
        read(written)
    assert said in str(caught.value)
    assert str(caught.value).startswith("x/v1.yaml:7: ")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"field": "m", "eq": 1}, 'There is no field "m"'),
        ({"field": "pric", "eq": "1"}, 'Did you mean "price"?'),
        ({"field": "n", "eq": "1"}, "must be a whole number, not text"),
        ({"field": "n", "eq": 1.0}, "must be a whole number, not a number"),
        ({"field": "n", "eq": True}, "must be a whole number, not true or false"),
        ({"field": "n", "in": [1, None]}, "must be a whole number, not nothing"),
        ({"field": "n", "lt": 2**31}, "does not fit int32"),
        ({"field": "id", "eq": 1}, "must be text"),
        ({"field": "ok", "gt": False}, "needs an ordered type"),
        ({"field": "any", "eq": 1}, "can't be compared"),
        ({"field": "many", "eq": 1}, "can't be compared"),
        ({"field": "at", "gt": "2013-01-01"}, "RFC 3339"),
        ({"field": "secret", "eq": "a"}, "protected (encrypt)"),
        ({"field": "secret", "exists": True}, "protected (encrypt)"),
        ({"not": {"any": [{"field": "age", "gt": 5}]}}, "protected (generalise)"),
    ],
)
def test_what_does_not_fit_the_fields(written: Any, said: str) -> None:
    with pytest.raises(ContractProblems) as caught:
        compile_condition(read(written), SCHEMA)
    assert said in str(caught.value)


def test_all_problems_of_a_condition_are_noted_at_their_lines() -> None:
    lines = {f"when.all.{index}": Location("x/v1.yaml", 20 + index) for index in range(2)}
    problems = Problems()
    written = {"all": [{"field": "nope", "eq": 1}, {"field": "n", "eq": "x"}]}
    found = read_condition(written, WHERE, lines, problems)
    assert found is not None
    assert check_condition(found, {field.name: field for field in FIELDS}, WHERE, problems) is None
    assert [where.line for where, _ in problems.found()] == [20, 21]

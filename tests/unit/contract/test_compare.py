"""Which changes of a contract break those who read the version before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clearwell.contract.compare import compare
from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind

ID = Field("id", Type.STRING, required=True)
AT = Field("at", Type.TIMESTAMP, required=True)
N = Field("n", Type.INT32, minimum=1, maximum=9, unit="min", allowed=(1, 2))
S = Field("s", Type.STRING, required=True, max_length=5, pattern="a")
D = Field("d", Type.DECIMAL, precision=5, scale=2, minimum="9")
OLD = CleanSchema("x", 1, (ID, AT, N, S, D), ("id",), "id", "at", "id")


def changed(field: Field, **parts: Any) -> CleanSchema:
    fields = tuple(replace(one, **parts) if one.name == field.name else one for one in OLD.fields)
    return replace(OLD, version=2, fields=fields)


def test_the_same_is_the_same() -> None:
    assert compare(OLD, replace(OLD, version=2)).differences == ()
    assert compare(OLD, OLD).readable


def test_a_new_field_is_fine_and_a_lost_one_is_not() -> None:
    more = replace(OLD, version=2, fields=(*OLD.fields, Field("x", Type.JSON)))
    added = compare(OLD, more)
    assert [(one.field, one.what, one.breaks) for one in added.differences] == [("x", "is new", False)]
    assert (added.readable, added.old, added.new) == (True, 1, 2)
    lost = compare(more, OLD)
    assert [(one.field, one.what, one.breaks) for one in lost.differences] == [("x", "is gone", True)]
    assert not lost.readable


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        (N, {"type": Type.INT64}),
        (N, {"unit": "h"}),
        (N, {"privacy": Privacy(PrivacyKind.MASK)}),
        (N, {"minimum": 0}),
        (N, {"minimum": None}),
        (N, {"maximum": 10}),
        (N, {"allowed": (1, 2, 3)}),
        (N, {"allowed": None}),
        (S, {"required": False}),
        (S, {"max_length": 6}),
        (S, {"pattern": "b"}),
        (S, {"pattern": None}),
        (D, {"scale": 3}),
        (D, {"precision": 6}),
        (D, {"minimum": "8.9"}),
    ],
)
def test_what_breaks_readers(field: Field, parts: dict[str, Any]) -> None:
    found = compare(OLD, changed(field, **parts))
    assert [(one.field, one.breaks) for one in found.differences] == [(field.name, True)]


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        (N, {"minimum": 2}),
        (N, {"maximum": 8}),
        (N, {"allowed": (1,)}),
        (N, {"required": True}),
        (N, {"description": "x"}),
        (S, {"max_length": 4}),
        (S, {"allowed": ("a",)}),
        (D, {"scale": 1}),
        (D, {"minimum": "10"}),
        (D, {"maximum": "100"}),
    ],
)
def test_what_readers_can_bear(field: Field, parts: dict[str, Any]) -> None:
    found = compare(OLD, changed(field, **parts))
    assert [(one.field, one.breaks) for one in found.differences] == [(field.name, False)]


@pytest.mark.parametrize("role", [{"key": ("at",)}, {"event_id": "s"}, {"event_time": "s"}, {"subject": None}])
def test_roles_may_not_move(role: dict[str, Any]) -> None:
    assert not compare(OLD, replace(OLD, **role)).readable

"""A team's own function as a step: found by entry point, called with values, its result held to the type."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from clearwell.errors import ContractError
from clearwell.pipeline import Rejected
from clearwell.steps import python as module

RESULTS = {}


def give(value):
    """Returns what the test wants returned."""
    return RESULTS[value]


def initial(first, last):
    """The initials of a person."""
    return f"{first[0]}{last[0]}" if first else None


@pytest.fixture
def functions(monkeypatch):
    """Two functions of this module and one that can't be imported, as an installed package would list them."""
    names = {
        "initial": f"{__name__}:initial",
        "give": f"{__name__}:give",
        "gone": "no_such_package:f",
        "odd": "sys:path",
    }
    points = EntryPoints(EntryPoint(name, value, module.GROUP) for name, value in names.items())
    loaded = {"initial": initial, "give": give}
    monkeypatch.setattr(module, "entry_points", lambda group: points.select(group=group))
    monkeypatch.setattr(EntryPoint, "load", lambda self: loaded.get(self.name) or _load(self))


_load = EntryPoint.load


def test_a_function_computes_a_field(things, functions):
    t = things(
        "a: {type: string}\nb: {type: string}",
        ["python: {step: initial, inputs: [a, b], field: i, type: string, unit: x}"],
    )
    assert t.value("i", a="Ada", b="Lovelace") == "AL"
    assert t.value("i", a="Ada") is None
    assert t.value("i", a="", b="x") is None
    got = t.one(a="Ada", b="")  # IndexError: a mistake of the function that it did not foresee
    assert (got.step, got.reason) == ("1.python", "the step could not process this event (IndexError)")


@pytest.mark.parametrize(
    ("kind", "result", "clean"),
    [
        ("int32", 5, 5),
        ("float64", 0.5, 0.5),
        ("decimal", Decimal("1E-2"), "0.01"),
        ("timestamp", datetime(2013, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2013-01-01T00:00:00Z"),
        ("date", date(2013, 1, 1), "2013-01-01"),
        ("bytes", b"hi", "aGk="),
        ("bool", False, False),
        ("string", None, None),
    ],
)
def test_a_result_of_the_type_is_kept(things, functions, kind, result, clean):
    RESULTS["x"] = result
    t = things("s: {type: string}", [f"python: {{step: give, inputs: [s], field: z, type: {kind}}}"])
    assert t.value("z", s="x") == clean


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("int32", 2**31),
        ("int32", True),
        ("int32", 1.0),
        ("float64", float("nan")),
        ("float64", float("inf")),
        ("float64", 1),
        ("decimal", Decimal("NaN")),
        ("decimal", Decimal("1E-20")),
        ("string", "\0"),
        ("string", "\ud800"),
        ("timestamp", datetime(2013, 1, 1)),
        ("timestamp", datetime.min.replace(tzinfo=timezone(timedelta(hours=2)))),
        ("date", datetime(2013, 1, 1, tzinfo=UTC)),
    ],
)
def test_any_other_result_rejects_the_event(things, functions, kind, result):
    RESULTS["x"] = result
    got = things("s: {type: string}", [f"python: {{step: give, inputs: [s], field: z, type: {kind}}}"]).one(s="x")
    assert isinstance(got, Rejected)
    assert (got.step, got.field, got.reason) == ("1.python", "z", "z could not be computed")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("step: initials, inputs: [s], field: z, type: string", 'no Python step "initials". Did you mean "initial"?'),
        ("step: gone, inputs: [s], field: z, type: string", 'The Python step "gone" can\'t be imported'),
        ("step: odd, inputs: [s], field: z, type: string", 'The Python step "odd" is not a function'),
        ("step: give, inputs: [s], field: z, type: json", "A function can't make a json"),
        ("step: give, inputs: [who], field: z, type: string", "so it must be protected too"),
    ],
)
def test_mistakes_are_named(things, functions, args, said):
    with pytest.raises(ContractError) as caught:
        things("s: {type: string}\nwho: {type: string, privacy: mask}", [f"python: {{{args}}}"])
    assert said in str(caught.value)

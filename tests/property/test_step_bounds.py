"""Every bound of every step against exact arithmetic: what the reference calls open is open, what it calls closed is.

Figures mean what is written (19.4 is 194/10), and so do the values of events: `Fraction(repr(x))`.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clearwell.contract.model import Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.pipeline import Rejected
from clearwell.privacy.pseudonym import generaliser
from tests.unit.conftest import Things, contract_of

TENTHS = st.integers(-1_000, 1_000).map(lambda n: n / 10)
WIDTHS = st.integers(1, 400).map(lambda n: n / 10)
TYPES = ("float64", "decimal, precision: 12, scale: 2", "int64", "int32")
ONCE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def near(limit: Fraction, type_: str) -> list[Any]:
    """Values of the type at, just below and just above an exact limit."""
    if type_.startswith("int"):
        return sorted({math.floor(limit) - 1, math.floor(limit), math.ceil(limit), math.ceil(limit) + 1})
    if type_.startswith("decimal"):
        at = Decimal(math.floor(limit * 100)).scaleb(-2)
        return [format(at + Decimal(step).scaleb(-2), "f") for step in (-1, 0, 1)]
    at = float(limit)
    return [math.nextafter(at, -math.inf), at, math.nextafter(at, math.inf)]


def flags(type_: str, step: str, values: list[Any]) -> list[bool]:
    things = Things(contract_of(f"x: {{type: {type_}}}", [step]))
    return [things.value("out", x=value) for value in values]


def check(type_: str, step: str, low: Fraction, high: Fraction) -> None:
    """The step flags exactly what lies outside of the closed range, and clips to values inside of it."""
    values = near(low, type_) + near(high, type_)
    outside = [not low <= Fraction(str(value)) <= high for value in values]
    assert flags(type_, step.format("flag, into: out"), values) == outside
    things = Things(contract_of(f"x: {{type: {type_}}}", [step.format("reject")]))
    assert [isinstance(things.one(x=value), Rejected) for value in values] == outside
    try:
        things = Things(contract_of(f"x: {{type: {type_}}}", [step.format("clip")]))
        for value, out in zip(values, outside, strict=True):
            clipped = Fraction(str(things.value("x", x=value)))
            assert low <= clipped <= high
            assert out or clipped == Fraction(str(value))
    except Exception as error:
        assert "No value lies in this range" in str(error)


@ONCE
@given(st.sampled_from(TYPES), TENTHS, WIDTHS, st.integers(1, 60).map(lambda n: n / 10))
@example("float64", 62.5, 19.4, 2.0)
@example("float64", 0.3, 0.1, 3.0)
@example("float64", 0.1, 0.2, 1.0)
def test_zscore_outlier_is_more_than_k_deviations(type_: str, mean: float, std: float, k: float) -> None:
    exact, reach = Fraction(repr(mean)), Fraction(repr(k)) * Fraction(repr(std))
    step = f"zscore_outlier: {{{{field: x, mean: {mean!r}, std: {std!r}, k: {k!r}, action: {{}}}}}}"
    if type_.startswith("int") and math.ceil(exact - reach) > math.floor(exact + reach):
        return  # no whole number lies there, and the contract is refused
    check(type_, step, exact - reach, exact + reach)


@ONCE
@given(st.sampled_from(TYPES), TENTHS, WIDTHS, st.integers(1, 60).map(lambda n: n / 10))
@example("float64", 0.1, 0.2, 1.5)
def test_iqr_outlier_is_more_than_k_ranges_outside(type_: str, q1: float, width: float, k: float) -> None:
    q3 = float(Decimal(repr(q1)) + Decimal(repr(width)))
    low, high = Fraction(repr(q1)), Fraction(repr(q3))
    reach = Fraction(repr(k)) * (high - low)
    step = f"iqr_outlier: {{{{field: x, q1: {q1!r}, q3: {q3!r}, k: {k!r}, action: {{}}}}}}"
    if type_.startswith("int") and math.ceil(low - reach) > math.floor(high + reach):
        return
    check(type_, step, low - reach, high + reach)


@ONCE
@given(TENTHS, WIDTHS)
def test_bounds_hold_both_ends(low: float, width: float) -> None:
    high = float(Decimal(repr(low)) + Decimal(repr(width)))
    step = f"bounds: {{{{field: x, min: {low!r}, max: {high!r}, action: {{}}}}}}"
    check("float64", step, Fraction(repr(low)), Fraction(repr(high)))
    things = Things(contract_of(f"x: {{type: float64, min: {low!r}, max: {high!r}}}"))
    for value in near(Fraction(repr(low)), "float64") + near(Fraction(repr(high)), "float64"):
        assert isinstance(things.one(x=value), Rejected) is not (low <= value <= high)


@ONCE
@given(TENTHS, WIDTHS, TENTHS)
def test_min_max_clipped_is_0_to_1_and_reaches_both(low: float, width: float, value: float) -> None:
    high = float(Decimal(repr(low)) + Decimal(repr(width)))
    step = f"min_max: {{field: x, min: {low!r}, max: {high!r}, clip: true}}"
    things = Things(contract_of("x: {type: float64}", [step]))
    for one in (low, high, value, *near(Fraction(repr(low)), "float64"), *near(Fraction(repr(high)), "float64")):
        scaled = things.value("x", x=one)
        exact = min(max((Fraction(one) - Fraction(low)) / (Fraction(high) - Fraction(low)), Fraction(0)), Fraction(1))
        assert 0 <= scaled <= 1
        assert abs(Fraction(scaled) - exact) <= Fraction(1, 10**9)
        assert (scaled == 0) == (one <= low) or one > low  # a value above the least may round to 0, never below it


@settings(max_examples=300, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False) | TENTHS,
    st.floats(1e-9, 1e9) | WIDTHS,
)
@example(0.3, 0.1)
@example(-0.3, 0.1)
@example(1.7976931348623157e308, 0.1)
@example(-1.7976931348623157e308, 3e300)
@example(5e-324, 5e-324)
def test_a_bucket_begins_at_a_multiple_of_its_width(value: float, width: float) -> None:
    field = Field("x", Type.FLOAT64, privacy=Privacy(PrivacyKind.GENERALISE, width))
    exact = math.floor(Fraction(repr(value)) / Fraction(repr(width))) * Fraction(repr(width))
    lowest = Fraction(-1.7976931348623157e308)
    assert generaliser(field)(value) == float(max(exact, lowest))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (
            "{type: float64, max: 9007199254740993}",
            "can't be held by a float64, whose nearest number is 9007199254740992",
        ),
        ("{type: float64, max: " + "9" * 400 + "}", "write a plain number"),
        ("{type: int64, max: 9223372036854775808}", "does not fit int64"),
    ],
)
def test_a_bound_that_the_type_can_not_hold_is_refused(field: str, said: str) -> None:
    with pytest.raises(Exception, match=said):
        contract_of(f"x: {field}")


@pytest.mark.parametrize(("window", "apart", "dropped"), [(3, 3, True), (3, 4, False), (1, 1, True), (1, 2, False)])
def test_a_repeat_is_one_at_most_so_many_offsets_ago(window: int, apart: int, dropped: bool) -> None:
    things = Things(contract_of("x: {type: int32}", [f"deduplicate: {{by: x, window: {window}}}"]))
    things.at(10).one(x=1)
    assert isinstance(things.at(10 + apart).one(x=1), str) is dropped


@pytest.mark.parametrize(
    ("scale", "text", "fits"), [(2, "0", True), (2, "0.00", True), (2, "0.99", True), (2, "1", False)]
)
def test_the_digits_of_a_decimal(scale: int, text: str, fits: bool) -> None:
    things = Things(contract_of(f"x: {{type: decimal, precision: 2, scale: {scale}}}"))
    assert isinstance(things.one(x=text), Rejected) is not fits


@pytest.mark.parametrize(("width", "value", "bucket"), [(10.0, "99", "90"), (10, "-1", "-10"), (0.5, "0.75", "0.5")])
def test_a_bucket_of_decimals_has_the_digits_of_its_field(width: float, value: str, bucket: str) -> None:
    scale = 0 if width >= 1 else 2
    field = Field("x", Type.DECIMAL, precision=38, scale=scale, privacy=Privacy(PrivacyKind.GENERALISE, width))
    made = generaliser(field)(Decimal(value))
    assert made == Decimal(bucket)
    assert made.as_tuple().exponent == -scale

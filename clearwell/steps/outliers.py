"""Steps for values out of range: bounds, zscore_outlier, iqr_outlier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, UnsetType
from msgspec import field as setting

from clearwell.contract.model import Field, Type
from clearwell.contract.values import INT_BOUNDS, python_value
from clearwell.steps.loop_writer import Code
from clearwell.steps.numeric import LARGEST
from clearwell.steps.scope import INTEGERS, NUMBERS, Scope, Wrong
from clearwell.steps.step import Action, OfField, Step

Number = float


class _Range(Step, frozen=True, kw_only=True):
    """What the three have in common: a lowest and a highest value, and what to do outside of them."""

    field: Annotated[str, Meta(description="The field to look at.")]
    action: Annotated[
        Action,
        Meta(description="reject: a dead letter; clip: the nearest value inside; flag: a bool field says so."),
    ] = "reject"
    into: Annotated[str, Meta(description="Name of the flag; `<field>_outlier` unless given.")] | UnsetType = UNSET

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.field, "field", types=self.types())
        low, high = self.limits(target, scope)
        if self.into is not UNSET and self.action != "flag":
            raise Wrong("`into` goes with `action: flag` alone.", "into")
        if low is not None and high is not None and high < low:
            raise Wrong("No value lies in this range: the lowest is above the highest.")
        if self.action != "flag":
            allowed = target.allowed if self.action == "reject" else None
            minimum, maximum = _tighter(target, low, high)
            scope.change(target, minimum=minimum, maximum=maximum, allowed=allowed)
        elif target.privacy is not None:
            raise Wrong(f'"{target.name}" is protected, and a flag would tell of it: use reject or clip.', "action")
        else:
            scope.add(Field(self.flag(), Type.BOOL, target.required), "into")

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target = before[self.field]
        low, high = self.limits(target, Scope.over(before))
        low_name, high_name = (code.constant(f"{target.name}_limit", limit) for limit in (low, high))
        variable = code.variable(target.name)
        if self.action == "flag":
            tests = [f"{low_name} <= "] * (low is not None) + [variable] + [f" <= {high_name}"] * (high is not None)
            flag = f"not {''.join(tests)}"
            if not target.required:
                flag = f"None if {variable} is None else {flag}"
            code.add(f"{code.variable(self.flag())} = {flag}")
            return
        with code.unless_null(target):
            for limit, name, sign, word in ((low, low_name, "<", "below"), (high, high_name, ">", "above")):
                if limit is None:
                    continue
                with code.block(f"if {variable} {sign} {name}:"):
                    if self.action == "clip":
                        code.add(f"{variable} = {name}")
                    else:
                        code.reject(f"{target.name} is {word} {_shown(limit)}", target.name)

    def flag(self) -> str:
        """The name of the flag field."""
        return f"{self.field}_outlier" if isinstance(self.into, UnsetType) else self.into

    def types(self) -> tuple[Type, ...]:
        """The types this step works on."""
        return NUMBERS

    def limits(self, target: Field, scope: Scope) -> tuple[Any, Any]:
        """Lowest and highest value as Python values of the field's type; None is no limit. Raises Wrong."""
        raise NotImplementedError


class Bounds(_Range, frozen=True, kw_only=True):
    """Look for values below `min` or above `max` (both inclusive, in the field's unit)."""

    verb: ClassVar[str] = "bounds"
    family: ClassVar[str] = "outliers"
    example: ClassVar[str] = "bounds: {field: dep_delay, min: -120, max: 1440, action: reject}"

    minimum: Annotated[OfField, Meta(description="The lowest that is fine.")] = setting(default=UNSET, name="min")
    maximum: Annotated[OfField, Meta(description="The highest that is fine.")] = setting(default=UNSET, name="max")

    def types(self) -> tuple[Type, ...]:
        return (*NUMBERS, Type.TIMESTAMP, Type.DATE)

    def limits(self, target: Field, scope: Scope) -> tuple[Any, Any]:
        if self.minimum is UNSET and self.maximum is UNSET:
            raise Wrong("bounds needs `min` or `max`, or both.")
        read = scope.value if self.action == "clip" else scope.constant
        low = None if self.minimum is UNSET else read(target, self.minimum, "min")
        high = None if self.maximum is UNSET else read(target, self.maximum, "max")
        return low, high


class ZscoreOutlier(_Range, frozen=True, kw_only=True):
    """Look for values more than `k` standard deviations from the mean; the numbers are given, taken from history.

    A value exactly `k` deviations away is fine; the limits are computed exactly, from the figures as they are written.
    """

    verb: ClassVar[str] = "zscore_outlier"
    family: ClassVar[str] = "outliers"
    example: ClassVar[str] = "zscore_outlier: {field: air_time, mean: 150.7, std: 93.7, k: 4, action: flag}"

    mean: Annotated[Number, Meta(description="The field's mean.")]
    std: Annotated[Number, Meta(gt=0, description="The field's standard deviation, above 0.")]
    k: Annotated[Number, Meta(gt=0, description="How many standard deviations are still fine.")] = 3

    def limits(self, target: Field, scope: Scope) -> tuple[Any, Any]:
        mean, reach = _exact(self.mean), _exact(self.k) * _exact(self.std)
        return _typed(target, mean - reach, mean + reach)


class IqrOutlier(_Range, frozen=True, kw_only=True):
    """Look for values more than `k` interquartile ranges outside the quartiles (Tukey's fences); numbers are given.

    A value exactly on a fence is fine; the fences are computed exactly, from the figures as they are written.
    """

    verb: ClassVar[str] = "iqr_outlier"
    family: ClassVar[str] = "outliers"
    example: ClassVar[str] = "iqr_outlier: {field: distance, q1: 502, q3: 1389, k: 3, action: clip}"

    q1: Annotated[Number, Meta(description="The first quartile.")]
    q3: Annotated[Number, Meta(description="The third quartile.")]
    k: Annotated[Number, Meta(gt=0, description="How many interquartile ranges are still fine.")] = 1.5

    def limits(self, target: Field, scope: Scope) -> tuple[Any, Any]:
        if self.q3 < self.q1:
            raise Wrong("q3 must not be below q1.", "q3")
        q1, q3 = _exact(self.q1), _exact(self.q3)
        reach = _exact(self.k) * (q3 - q1)
        return _typed(target, q1 - reach, q3 + reach)


def _exact(figure: Number) -> Fraction:
    """A figure as the contract writes it: 19.4 is 194/10, not the float64 beside it."""
    return Fraction(repr(figure))


def _typed(target: Field, low: Fraction, high: Fraction) -> tuple[Any, Any]:
    """The least and the greatest value of the field's type between two exact limits, both of which are still fine."""
    if not -LARGEST <= low <= high <= LARGEST:
        raise Wrong("These numbers give no finite range.")
    if target.type in INTEGERS:
        lowest, highest = INT_BOUNDS[target.type]
        return max(math.ceil(low), lowest), min(math.floor(high), highest)
    if target.type is Type.DECIMAL:
        unit = 10**target.scale
        return _scaled(math.ceil(low * unit), target.scale), _scaled(math.floor(high * unit), target.scale)
    least, most = float(low), float(high)
    if _exact(least) < low:
        least = math.nextafter(least, math.inf)
    if _exact(most) > high:
        most = math.nextafter(most, -math.inf)
    return least, most


def _scaled(digits: int, scale: int) -> Decimal:
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -scale))


def _tighter(target: Field, low: Any, high: Any) -> tuple[Any, Any]:
    """The bounds that hold after the step, as a field writes them: the narrower of old and new."""
    old_low, old_high = (
        None if bound is None else python_value(target.type, bound) for bound in (target.minimum, target.maximum)
    )
    least = [limit for limit in (low, old_low) if limit is not None]
    most = [limit for limit in (high, old_high) if limit is not None]
    return _bound(max(least, default=None)), _bound(min(most, default=None))


def _bound(limit: Any) -> Any:
    """A limit as a field's `minimum` or `maximum` is written."""
    if limit is None or isinstance(limit, int | float):
        return limit
    if isinstance(limit, Decimal):
        return format(limit, "f")
    return limit.isoformat().replace("+00:00", "Z")


def _shown(limit: Any) -> str:
    return str(_bound(limit))

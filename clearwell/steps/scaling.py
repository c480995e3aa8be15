"""Steps that scale numbers by given figures: zscore, min_max, decimal_scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType
from msgspec import field as setting

from clearwell.contract.model import Field, Type
from clearwell.steps.loop_writer import Code
from clearwell.steps.numeric import LARGEST, emit_check
from clearwell.steps.scope import INTEGERS, Scope, Wrong
from clearwell.steps.step import PrivacyOfNew, Step

Number = float


class _Scale(Step, frozen=True, kw_only=True):
    """What the three have in common: a number goes in, a float64 comes out; what is not finite is rejected."""

    field: Annotated[str, Meta(description="The field to scale.")]
    into: Annotated[str, Meta(description="A new field for the result; without it the field changes.")] | UnsetType = (
        UNSET
    )
    privacy: PrivacyOfNew = UNSET

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.field, "field", types=(*INTEGERS, Type.FLOAT64))
        if isinstance(self.into, UnsetType):
            if self.privacy is not UNSET:
                raise Wrong("`privacy` goes with `into`; a field that changes in its place keeps its own.", "privacy")
            scope.change(target, type=Type.FLOAT64, minimum=None, maximum=None, unit=None)
        else:
            made = Field(self.into, Type.FLOAT64, target.required, privacy=scope.privacy(self.privacy))
            scope.add(made, "into", source=[target])

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target = before[self.field]
        result = after[self.field if isinstance(self.into, UnsetType) else self.into]
        variable, scaled = code.variable(target.name), code.variable(result.name)
        if scaled != variable and not target.required:
            code.add(f"{scaled} = None")
        with code.unless_null(target):
            code.add(f"{scaled} = {self.formula(variable)}")
            emit_check(code, scaled, result)

    def formula(self, variable: str) -> str:
        """The scaled value as an expression that gives a float."""
        raise NotImplementedError


class Zscore(_Scale, frozen=True, kw_only=True):
    """(x - mean) / std, from given numbers."""

    verb: ClassVar[str] = "zscore"
    family: ClassVar[str] = "scaling"
    example: ClassVar[str] = "zscore: {field: distance, mean: 1039.9, std: 733.2, into: distance_z}"

    mean: Annotated[Number, Meta(description="The field's mean.")]
    std: Annotated[Number, Meta(gt=0, description="The field's standard deviation, above 0.")]

    def formula(self, variable: str) -> str:
        return f"({variable} - {self.mean!r}) / {self.std!r}"


class MinMax(_Scale, frozen=True, kw_only=True):
    """(x - min) / (max - min), from given numbers: 0 to 1 for values between them. `clip` forces others to 0 or 1."""

    verb: ClassVar[str] = "min_max"
    family: ClassVar[str] = "scaling"
    example: ClassVar[str] = "min_max: {field: distance, min: 17, max: 4983, clip: true}"

    minimum: Annotated[Number, Meta(description="The value that becomes 0.")] = setting(name="min")
    maximum: Annotated[Number, Meta(description="The value that becomes 1.")] = setting(name="max")
    clip: Annotated[bool, Meta(description="Whether results below 0 become 0 and above 1 become 1.")] = False

    def effect(self, scope: Scope) -> None:
        if not 0 < self.maximum - self.minimum <= LARGEST:
            raise Wrong("max must be above min, by a finite distance.", "max")
        super().effect(scope)

    def formula(self, variable: str) -> str:
        scaled = f"({variable} - {self.minimum!r}) / {self.maximum - self.minimum!r}"
        if not self.clip:
            return scaled
        return f"0.0 if {variable} <= {self.minimum!r} else 1.0 if {variable} >= {self.maximum!r} else {scaled}"


class DecimalScale(_Scale, frozen=True, kw_only=True):
    """x / 10 to the power of `digits`."""

    verb: ClassVar[str] = "decimal_scale"
    family: ClassVar[str] = "scaling"
    example: ClassVar[str] = "decimal_scale: {field: distance, digits: 4}"

    digits: Annotated[int, Meta(ge=1, le=18, description="How many places the decimal point moves to the left.")]

    def formula(self, variable: str) -> str:
        return f"{variable} / {10**self.digits}"

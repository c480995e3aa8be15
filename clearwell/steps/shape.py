"""Steps that change which fields there are: derive, rename, drop_field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from msgspec import UNSET, Meta, UnsetType

from clearwell.contract.model import Field
from clearwell.steps import formulas
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Scope, Wrong
from clearwell.steps.step import PrivacyOfNew, Step, convert

Operands = Annotated[list[str], Meta(min_length=1, max_length=50)]


class Derive(Step, frozen=True, kw_only=True):
    """Compute a new field from others. Null in any of them gives null.

    sum, difference, product: of integers an int64, of floats (or floats and integers) a float64, of decimals (or
    decimals and integers) a decimal; a result that does not fit is rejected. The difference of two timestamps is a
    float64 in seconds. ratio: a float64; division by zero gives null, or is rejected with `by_zero: reject`.
    concat: text, integers, bools and dates one after the other, with `separator` between. part: year, quarter, month,
    week (ISO 8601), day, day_of_year, weekday (1 is Monday, 7 is Sunday), hour, minute, second of a timestamp (in UTC,
    or in `zone`) or of a date, as int32.
    """

    verb: ClassVar[str] = "derive"
    family: ClassVar[str] = "shape"
    example: ClassVar[str] = "derive: {field: speed, ratio: [distance, air_time], unit: mile/min}"

    field: Annotated[str, Meta(description="The name of the new field.")]
    sum: Annotated[Operands, Meta(description="Numbers to add.")] | UnsetType = UNSET
    difference: Annotated[Operands, Meta(description="Two fields: the first less the second.")] | UnsetType = UNSET
    product: Annotated[Operands, Meta(description="Numbers to multiply.")] | UnsetType = UNSET
    ratio: Annotated[Operands, Meta(description="Two fields: the first divided by the second.")] | UnsetType = UNSET
    concat: Annotated[Operands, Meta(description="Fields to write one after the other.")] | UnsetType = UNSET
    part: Annotated[formulas.PartOfTime, Meta(description="Which part of the time in `of`.")] | UnsetType = UNSET
    of: Annotated[str, Meta(description="The timestamp or date that `part` is taken from.")] | UnsetType = UNSET
    zone: Annotated[str, Meta(description="IANA time zone for `part`; UTC unless given.")] | UnsetType = UNSET
    separator: Annotated[str, Meta(max_length=100, description="Between the parts of `concat`.")] | UnsetType = UNSET
    by_zero: Annotated[Literal["null", "reject"] | None, Meta(description="What `ratio` does: null or reject.")] = (
        "null"
    )
    unit: Annotated[str, Meta(max_length=64, description="What the number counts.")] | None = None
    description: Annotated[str, Meta(max_length=2000, description="What the new field means.")] = ""
    privacy: PrivacyOfNew = UNSET

    def effect(self, scope: Scope) -> None:
        formula = self._formula()
        sources = [scope.need(name, formula.word, index) for index, name in enumerate(formula.operands)]
        made = formula.result(self.field, sources)
        made = formulas.described(made, self.unit or made.unit, self.description, scope.privacy(self.privacy))
        scope.add(made, "field", source=sources)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        formula = self._formula()
        sources = [before[name] for name in formula.operands]
        target = code.variable(self.field)
        nulls = dict.fromkeys(f"{code.variable(source.name)} is None" for source in sources if not source.required)
        if not nulls:
            formula.emit(code, target, after[self.field], sources)
            return
        with code.block(f"if {' or '.join(nulls)}:"):
            code.add(f"{target} = None")
        with code.block("else:"):
            formula.emit(code, target, after[self.field], sources)

    def _formula(self) -> formulas.Formula:
        """The one formula that the arguments spell out. Raises Wrong."""
        words = [word for word in formulas.WORDS if getattr(self, word) is not UNSET]
        if len(words) != 1:
            raise Wrong(f"derive takes exactly one of {', '.join(formulas.WORDS)}.")
        word = words[0]
        for extra, owner in (("of", "part"), ("zone", "part"), ("separator", "concat")):
            if getattr(self, extra) is not UNSET and word != owner:
                raise Wrong(f"`{extra}` goes with `{owner}` alone.", extra)
        if word == "part":
            if isinstance(self.of, UnsetType):
                raise Wrong("`part` needs `of`, the timestamp or date.", "part")
            return formulas.TimePart(str(self.part), self.of, None if isinstance(self.zone, UnsetType) else self.zone)
        operands = tuple(getattr(self, word))
        if word == "concat":
            return formulas.Concat(operands, "" if isinstance(self.separator, UnsetType) else self.separator)
        if word == "ratio":
            return formulas.Ratio(operands, self.by_zero == "reject")
        return formulas.Arithmetic(word, operands)


class Rename(Step, frozen=True, kw_only=True):
    """Give fields other names: old name, then new name. The protection of a field goes with it."""

    verb: ClassVar[str] = "rename"
    family: ClassVar[str] = "shape"
    example: ClassVar[str] = "rename: {time_hour: scheduled_at}"

    names: Annotated[dict[str, str], Meta(min_length=1, description="New names by old names.")]

    @classmethod
    def parse(cls, args: Any) -> Self:
        """The map of names is the whole argument."""
        return convert(cls, {"names": args})

    def effect(self, scope: Scope) -> None:
        for old, new in self.names.items():
            scope.rename(old, new, old)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        for old, new in self.names.items():
            code.add(f"{code.variable(new)} = {code.variable(old)}")


class DropField(Step, frozen=True, kw_only=True):
    """Leave fields out of the clean event."""

    verb: ClassVar[str] = "drop_field"
    family: ClassVar[str] = "shape"
    example: ClassVar[str] = "drop_field: {fields: [hour, minute]}"

    fields: Annotated[list[str], Meta(min_length=1, description="The fields to leave out.")]

    def effect(self, scope: Scope) -> None:
        for index, name in enumerate(self.fields):
            scope.remove(name, "fields", index)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        code.add(f"# without {', '.join(self.fields)}")

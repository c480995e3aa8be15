"""What `derive` can compute: arithmetic, a ratio, text one after the other, a part of a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from clearwell.contract.model import Field, Type
from clearwell.contract.privacy import Privacy
from clearwell.steps.convert import time_zone
from clearwell.steps.loop_writer import Code
from clearwell.steps.numeric import EXACT, emit_check
from clearwell.steps.scope import INTEGERS, NUMBERS, Wrong

WORDS = ("sum", "difference", "product", "ratio", "concat", "part")
PartOfTime = Literal["year", "quarter", "month", "week", "day", "day_of_year", "weekday", "hour", "minute", "second"]
SIGNS = {"sum": "+", "difference": "-", "product": "*"}

_PART_OF = {
    "year": ("{}.year", 1, 9999),
    "quarter": ("({}.month + 2) // 3", 1, 4),
    "month": ("{}.month", 1, 12),
    "week": ("{}.isocalendar().week", 1, 53),
    "day": ("{}.day", 1, 31),
    "day_of_year": ("{}.timetuple().tm_yday", 1, 366),
    "weekday": ("{}.isoweekday()", 1, 7),
    "hour": ("{}.hour", 0, 23),
    "minute": ("{}.minute", 0, 59),
    "second": ("{}.second", 0, 59),
}


class Formula(Protocol):
    """One way to compute a field. `emit` is only called where no operand is null."""

    @property
    def word(self) -> str: ...

    @property
    def operands(self) -> tuple[str, ...]: ...

    def result(self, name: str, sources: Sequence[Field]) -> Field:
        """The new field. Raises Wrong when the operands don't fit."""

    def emit(self, code: Code, target: str, made: Field, sources: Sequence[Field]) -> None:
        """Assign the value to `target`."""


def described(field: Field, unit: str | None, description: str, privacy: Privacy | None) -> Field:
    """`field` with what its step says about it."""
    return replace(field, unit=unit, description=description, privacy=privacy)


@dataclass(frozen=True)
class Arithmetic:
    """Sum, difference or product of numbers; the difference of two timestamps."""

    word: str
    operands: tuple[str, ...]

    def result(self, name: str, sources: Sequence[Field]) -> Field:
        if self.word == "difference" and len(sources) != 2:
            raise Wrong("difference takes two fields.", self.word)
        required = all(source.required for source in sources)
        types = {source.type for source in sources}
        if self.word == "difference" and types == {Type.TIMESTAMP}:
            return Field(name, Type.FLOAT64, required, unit="s")
        for index, source in enumerate(sources):
            if source.type not in NUMBERS:
                raise Wrong(f'"{source.name}" is {source.type}, which is not a number.', self.word, index)
        if types <= set(INTEGERS):
            return Field(name, Type.INT64, required)
        if Type.DECIMAL not in types:
            return Field(name, Type.FLOAT64, required)
        if Type.FLOAT64 in types:
            raise Wrong("A decimal and a float64 don't mix: cast one of them first.", self.word)
        scales = [source.scale for source in sources if source.type is Type.DECIMAL]
        return Field(
            name, Type.DECIMAL, required, scale=min(38, sum(scales) if self.word == "product" else max(scales))
        )

    def emit(self, code: Code, target: str, made: Field, sources: Sequence[Field]) -> None:
        variables = [code.variable(source.name) for source in sources]
        if sources[0].type is Type.TIMESTAMP:
            code.add(f"{target} = ({variables[0]} - {variables[1]}).total_seconds()")
            return
        if made.type is Type.DECIMAL:
            word = {"sum": "add", "difference": "subtract", "product": "multiply"}[self.word]
            exact = code.reference("exact", EXACT)
            code.add(f"{target} = {variables[0]}")
            for variable in variables[1:]:
                code.add(f"{target} = {exact}.{word}({target}, {variable})")
            if len(variables) == 1:
                code.add(f"{target} = {exact}.plus({target})")
        else:
            code.add(f"{target} = {f' {SIGNS[self.word]} '.join(variables)}")
            if made.type is Type.INT64 and all(source.type is Type.INT32 for source in sources) and len(sources) <= 2:
                return  # two int32 can't leave an int64
        emit_check(code, target, made)


@dataclass(frozen=True)
class Ratio:
    """The first divided by the second, as float64."""

    operands: tuple[str, ...]
    reject_zero: bool
    word: str = "ratio"

    def result(self, name: str, sources: Sequence[Field]) -> Field:
        if len(sources) != 2:
            raise Wrong("ratio takes two fields.", self.word)
        for index, source in enumerate(sources):
            if source.type not in (*INTEGERS, Type.FLOAT64):
                raise Wrong(
                    f'"{source.name}" is {source.type}; ratio works on int32, int64, float64.', self.word, index
                )
        return Field(name, Type.FLOAT64, self.reject_zero and all(source.required for source in sources))

    def emit(self, code: Code, target: str, made: Field, sources: Sequence[Field]) -> None:
        over, under = (code.variable(source.name) for source in sources)
        if self.reject_zero:
            with code.block(f"if {under} == 0:"):
                code.reject(f"{sources[1].name} is zero, so {made.name} can't be computed", sources[1].name)
            code.add(f"{target} = {over} / {under}")
            emit_check(code, target, made)
            return
        with code.block(f"if {under} == 0:"):
            code.add(f"{target} = None")
        with code.block("else:"):
            code.add(f"{target} = {over} / {under}")
            if not all(source.type in INTEGERS for source in sources):
                emit_check(code, target, made)


@dataclass(frozen=True)
class Concat:
    """Text one after the other."""

    operands: tuple[str, ...]
    separator: str
    word: str = "concat"

    def result(self, name: str, sources: Sequence[Field]) -> Field:
        for index, source in enumerate(sources):
            if source.type not in (Type.STRING, *INTEGERS, Type.DATE):
                raise Wrong(
                    f'"{source.name}" is {source.type}; concat works on text, integers, dates.', self.word, index
                )
        return Field(name, Type.STRING, all(source.required for source in sources))

    def emit(self, code: Code, target: str, made: Field, sources: Sequence[Field]) -> None:
        join = f" + {self.separator!r} + " if self.separator else " + "
        code.add(f"{target} = {join.join(self._text(code, source) for source in sources)}")

    def _text(self, code: Code, source: Field) -> str:
        variable = code.variable(source.name)
        return variable if source.type is Type.STRING else f"{code.reference('text', str)}({variable})"


@dataclass(frozen=True)
class TimePart:
    """One part of a timestamp or date, as a small integer."""

    part: str
    of: str
    zone: str | None
    word: str = "of"

    @property
    def operands(self) -> tuple[str, ...]:
        """The one field."""
        return (self.of,)

    def result(self, name: str, sources: Sequence[Field]) -> Field:
        (source,) = sources
        if source.type is Type.DATE:
            if self.part in ("hour", "minute", "second") or self.zone:
                raise Wrong(f'"{source.name}" is a date: it has no time of day and no zone.', "part")
        elif source.type is not Type.TIMESTAMP:
            raise Wrong(f'"{source.name}" is {source.type}; part works on timestamps and dates.', "of")
        if self.zone:
            time_zone(self.zone, "zone")
        _, low, high = _PART_OF[self.part]
        return Field(name, Type.INT32, source.required, minimum=low, maximum=high)

    def emit(self, code: Code, target: str, made: Field, sources: Sequence[Field]) -> None:
        moment = code.variable(self.of)
        if self.zone:
            moment = f"{moment}.astimezone({code.reference('zone', time_zone(self.zone))})"
        code.add(f"{target} = {_PART_OF[self.part][0].format(moment)}")

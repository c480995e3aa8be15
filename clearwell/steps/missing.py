"""Steps for missing values: require, drop_when, fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, UnsetType
from msgspec import field as setting

from clearwell.contract.model import Field, Type
from clearwell.steps.conditions import expression, understand
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import INTEGERS, Scope, Wrong
from clearwell.steps.step import OfField, Step
from clearwell.steps.step_memory import Recent, check_key, emit_key

MOST_REMEMBERED = 1_024
"""Characters or bytes of a value that is remembered for each entity."""

Names = Annotated[list[str], Meta(min_length=1)]


class Require(Step, frozen=True, kw_only=True):
    """Reject an event in which one of the fields is null; from here on they never are."""

    verb: ClassVar[str] = "require"
    family: ClassVar[str] = "missing values"
    example: ClassVar[str] = "require: {fields: [dep_time, arr_time]}"

    fields: Annotated[Names, Meta(description="The fields that must have a value.")]

    def effect(self, scope: Scope) -> None:
        for index, name in enumerate(self.fields):
            scope.require(scope.need(name, "fields", index))

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        for name in dict.fromkeys(self.fields):
            if not before[name].required:
                with code.block(f"if {code.variable(name)} is None:"):
                    code.reject(f"{name} is missing", name)


class DropWhen(Step, frozen=True, kw_only=True):
    """Drop an event for which a condition holds: it is counted as dropped, not as a dead letter.

    A comparison with a null is false (`ne` too); `exists` asks whether there is a value.
    """

    verb: ClassVar[str] = "drop_when"
    family: ClassVar[str] = "missing values"
    example: ClassVar[str] = "drop_when: {name: test flights, when: {field: carrier, eq: ZZ}}"

    when: Annotated[
        Any,
        Meta(
            title="a condition",
            description="A condition: field with eq, ne, in, lt, lte, gt, gte or exists; all, any, not.",
            extra_json_schema={"$ref": "#/$defs/condition"},
        ),
    ]
    title: Annotated[str, Meta(description="What the rule is about, for people.")] = setting(default="", name="name")

    def effect(self, scope: Scope) -> None:
        understand(self.when, scope.call, scope.fields())

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        condition = understand(self.when, Scope.over(before).call, before)
        if self.title and self.title.isprintable():
            code.add(f"# {self.title}")
        with code.block(f"if {expression(condition, before, code)}:"):
            code.drop()


class Fill(Step, frozen=True, kw_only=True):
    """Put a value in the place of a null.

    Give exactly one of `constant`, `mean`, `median`, `mode` (numbers you took from history; all four are used alike,
    the name says where the value is from) or `previous`: the last value that came with an event of the same entity,
    which is what the fields in `by` say, at most `previous` raw offsets ago in the same partition (values that were
    filled in don't count, and an event with a null in `by` is of no entity). So events of one entity belong into one
    partition: let the connector's key be the entity. A mean or median for an integer field must be a whole number.
    With `previous` the field may still be null.
    """

    verb: ClassVar[str] = "fill"
    family: ClassVar[str] = "missing values"
    example: ClassVar[str] = "fill: {field: air_time, median: 129}"

    field: Annotated[str, Meta(description="The field to fill.")]
    constant: Annotated[OfField, Meta(description="Any value of the field's type.")] = UNSET
    mean: Annotated[OfField, Meta(description="The field's mean.")] = UNSET
    median: Annotated[OfField, Meta(description="The field's median.")] = UNSET
    mode: Annotated[OfField, Meta(description="The field's most frequent value.")] = UNSET
    previous: Annotated[int, Meta(ge=1, le=1_000_000, description="How many raw offsets back to look.")] | UnsetType = (
        UNSET
    )
    by: Annotated[Names, Meta(max_length=10, description="With `previous`: the fields that say whose value it is.")] | (
        UnsetType
    ) = UNSET

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.field, "field")
        given = [
            name for name in ("constant", "mean", "median", "mode", "previous") if getattr(self, name) is not UNSET
        ]
        if len(given) != 1:
            raise Wrong("fill takes exactly one of constant, mean, median, mode, previous.")
        if given == ["previous"]:
            self._check_previous(target, scope)
            return
        if self.by is not UNSET:
            raise Wrong("`by` goes with `previous` alone.", "by")
        if given[0] in ("mean", "median") and target.type not in (*INTEGERS, Type.FLOAT64, Type.DECIMAL):
            raise Wrong(f'"{target.name}" is {target.type}, which has no {given[0]}.', given[0])
        if target.type in (Type.JSON, Type.LIST):
            raise Wrong(f'"{target.name}" is {target.type}, which has no constants.', given[0])
        value = scope.value(target, getattr(self, given[0]), given[0])
        allowed = target.allowed if target.allowed is None or value in target.allowed else (*target.allowed, value)
        scope.change(target, required=True, allowed=allowed, **_widened(target, value))

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target = before[self.field]
        variable = code.variable(self.field)
        if self.previous is not UNSET:
            self._emit_previous(code, variable, [before[name] for name in self._by()])
        elif not target.required:
            value = next(v for v in (self.constant, self.mean, self.median, self.mode) if v is not UNSET)
            with code.block(f"if {variable} is None:"):
                code.add(f"{variable} = {code.constant(self.field, Scope.over(before).value(target, value))}")

    def _check_previous(self, target: Field, scope: Scope) -> None:
        if isinstance(self.by, UnsetType):
            raise Wrong("`previous` needs `by`, the fields that say whose last value it is.", "previous")
        for index, name in enumerate(self.by):
            check_key(scope.need(name, "by", index), "by", index)
        if self.field in self.by:
            raise Wrong(f'"{self.field}" can\'t say whose value it is itself.', "by")
        if target.privacy is not None:  # invariant 7: it would outlive its subject under another's key
            raise Wrong(f'"{target.name}" is protected: a value of one event must not enter another.', "previous")
        short = target.max_length is not None and target.max_length <= MOST_REMEMBERED
        if target.type in (Type.JSON, Type.LIST) or (target.type in (Type.STRING, Type.BYTES) and not short):
            raise Wrong(
                f'"{target.name}" has no bound, and a value of each entity is remembered: `previous` works on numbers, '
                f"times, and text or bytes with a `max_length` of {MOST_REMEMBERED} at most.",
                "previous",
            )

    def _by(self) -> list[str]:
        return [] if isinstance(self.by, UnsetType) else list(dict.fromkeys(self.by))

    def _emit_previous(self, code: Code, variable: str, by: Sequence[Field]) -> None:
        recent = code.memory("recent", partial(Recent, self.lookback()))
        last, key = code.fresh("last"), code.fresh("entity")
        now, earlier = code.fresh("now"), code.fresh("earlier")
        code.opening += [f"{now} = {recent}.now", f"{earlier} = {recent}.before"]
        with code.unless_null(*by):
            code.add(f"{key} = {emit_key(code, by)}")
            with code.block(f"if {variable} is not None:"):
                code.add(f"{now}[{key}] = ({variable}, _offset)")
            with code.block("else:"):
                code.add(f"{last} = {now}.get({key}) or {earlier}.get({key})")
                with code.block(f"if {last} is not None and _offset - {last}[1] <= {self.previous}:"):
                    code.add(f"{variable} = {last}[0]")

    def lookback(self) -> int:
        return 0 if isinstance(self.previous, UnsetType) else self.previous


def _widened(target: Field, value: Any) -> dict[str, Any]:
    """Bounds of the field that the filled-in value may lie outside of are lifted."""
    wider: dict[str, Any] = {}
    if isinstance(value, int | float):
        if target.minimum is not None and not isinstance(target.minimum, str) and value < target.minimum:
            wider["minimum"] = value
        if target.maximum is not None and not isinstance(target.maximum, str) and value > target.maximum:
            wider["maximum"] = value
    elif target.minimum is not None or target.maximum is not None:
        wider = {"minimum": None, "maximum": None}
    if target.max_length is not None and isinstance(value, str | bytes):
        wider["max_length"] = max(target.max_length, len(value))
    return wider

"""Steps that turn categories into numbers: label, one_hot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from clearwell.contract.model import Field, Type
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Scope, Wrong
from clearwell.steps.step import PrivacyOfNew, Step

Code32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class Label(Step, frozen=True, kw_only=True):
    """Replace a category by its number (int32). One that is not listed is rejected, made null or given a code."""

    verb: ClassVar[str] = "label"
    family: ClassVar[str] = "categories"
    example: ClassVar[str] = "label: {field: origin, codes: {EWR: 0, JFK: 1, LGA: 2}, unknown: -1}"

    field: Annotated[str, Meta(description="The string field to encode.")]
    codes: Annotated[dict[str, Code32], Meta(min_length=1, description="The number of each category.")]
    unknown: Annotated[
        Literal["reject"] | Code32 | None, Meta(description="For other categories: reject, null, or a number.")
    ] = "reject"
    into: Annotated[str, Meta(description="A new field for the number; without it the field changes.")] | UnsetType = (
        UNSET
    )
    privacy: PrivacyOfNew = UNSET

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.field, "field", types=(Type.STRING,))
        required = target.required and self.unknown is not None
        if isinstance(self.into, UnsetType):
            if self.privacy is not UNSET:
                raise Wrong("`privacy` goes with `into`; a field that changes in its place keeps its own.", "privacy")
            scope.change(target, type=Type.INT32, required=required, max_length=None)
        else:
            made = Field(self.into, Type.INT32, required, privacy=scope.privacy(self.privacy))
            scope.add(made, "into", source=[target])

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        variable = code.variable(self.field)
        result = code.variable(self.field if isinstance(self.into, UnsetType) else self.into)
        codes = code.reference(f"{self.field}_codes", dict(self.codes))
        if result != variable and not before[self.field].required:
            code.add(f"{result} = None")
        with code.unless_null(before[self.field]):
            if self.unknown != "reject":
                code.add(f"{result} = {codes}.get({variable}, {self.unknown!r})")
                return
            code.add(f"{result} = {codes}.get({variable})")
            with code.block(f"if {result} is None:"):
                code.reject(f"{self.field} is not a listed category", self.field)


class OneHot(Step, frozen=True, kw_only=True):
    """Add one int32 field a category, 1 where the event has it and 0 elsewhere; null gives nulls.

    The fields are called `<prefix>_<category>`, in lower case, with _ for what can't stand in a name.
    """

    verb: ClassVar[str] = "one_hot"
    family: ClassVar[str] = "categories"
    example: ClassVar[str] = "one_hot: {field: origin, categories: [EWR, JFK, LGA], unknown: reject}"

    field: Annotated[str, Meta(description="The string field to encode; it stays.")]
    categories: Annotated[list[str], Meta(min_length=1, max_length=200, description="The categories.")]
    unknown: Annotated[
        Literal["reject", "zeros"], Meta(description="For other categories: reject, or 0 in every field.")
    ] = "reject"
    prefix: Annotated[str, Meta(description="First part of the names; the field's name unless given.")] | UnsetType = (
        UNSET
    )
    privacy: PrivacyOfNew = UNSET

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.field, "field", types=(Type.STRING,))
        privacy = scope.privacy(self.privacy)
        for index, name in enumerate(self.names()):
            made = Field(name, Type.INT32, target.required, minimum=0, maximum=1, privacy=privacy)
            scope.add(made, "categories", index, source=[target])

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target, variable = before[self.field], code.variable(self.field)
        if self.unknown == "reject":
            with code.unless_null(target):
                known = code.reference(f"{self.field}_categories", frozenset(self.categories))
                with code.block(f"if {variable} not in {known}:"):
                    code.reject(f"{self.field} is not a listed category", self.field)
        for name, category in zip(self.names(), self.categories, strict=True):
            hot = f"1 if {variable} == {category!r} else 0"
            code.add(f"{code.variable(name)} = {hot if target.required else f'None if {variable} is None else {hot}'}")

    def names(self) -> list[str]:
        """The new fields, in the order of the categories."""
        prefix = self.field if isinstance(self.prefix, UnsetType) else self.prefix
        return [f"{prefix}_{re.sub('[^a-z0-9]+', '_', category.lower()).strip('_')}" for category in self.categories]

"""Steps for text: trim, lower, upper, normalize, replace."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec import field as setting

from clearwell.contract.model import Field, Type
from clearwell.contract.patterns import compile_pattern
from clearwell.steps.code import Code
from clearwell.steps.scope import Scope, Wrong
from clearwell.steps.step import Step


class _Text(Step, frozen=True, kw_only=True):
    """What the text steps have in common: string fields, each changed in its place."""

    fields: Annotated[list[str], Meta(min_length=1, description="The string fields to change.")]

    def effect(self, scope: Scope) -> None:
        for index, name in enumerate(self.fields):
            target = scope.need(name, "fields", index, types=(Type.STRING,))
            allowed = None if target.allowed is None else tuple(dict.fromkeys(self.apply(v) for v in target.allowed))
            scope.change(
                target, allowed=allowed, pattern=None, max_length=target.max_length if self.shorter() else None
            )

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        for name in dict.fromkeys(self.fields):
            with code.unless_null(before[name]):
                code.add(f"{code.variable(name)} = {self.python(code, code.variable(name))}")

    def shorter(self) -> bool:
        """Whether the text never grows."""
        return False

    def apply(self, text: str) -> str:
        """What the step does to one value."""
        raise NotImplementedError

    def python(self, code: Code, variable: str) -> str:
        """The same as an expression."""
        raise NotImplementedError


class Trim(_Text, frozen=True, kw_only=True):
    """Take white space (as Unicode has it) off both ends. Text of white space alone becomes empty, not null."""

    verb: ClassVar[str] = "trim"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = "trim: {fields: [carrier, dest]}"

    def shorter(self) -> bool:
        return True

    def apply(self, text: str) -> str:
        return text.strip()

    def python(self, code: Code, variable: str) -> str:
        return f"{variable}.strip()"


class Lower(_Text, frozen=True, kw_only=True):
    """Lower case, as Unicode has it, the same in every language."""

    verb: ClassVar[str] = "lower"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = "lower: {fields: [email]}"

    def apply(self, text: str) -> str:
        return text.lower()

    def python(self, code: Code, variable: str) -> str:
        return f"{variable}.lower()"


class Upper(_Text, frozen=True, kw_only=True):
    """Upper case, as Unicode has it, the same in every language ("ß" becomes "SS")."""

    verb: ClassVar[str] = "upper"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = "upper: {fields: [carrier]}"

    def apply(self, text: str) -> str:
        return text.upper()

    def python(self, code: Code, variable: str) -> str:
        return f"{variable}.upper()"


class Normalize(_Text, frozen=True, kw_only=True):
    """Bring text into a Unicode normal form, so that texts that look alike are alike."""

    verb: ClassVar[str] = "normalize"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = "normalize: {fields: [name], form: NFC}"

    form: Annotated[Literal["NFC", "NFD", "NFKC", "NFKD"], Meta(description="The normal form.")] = "NFC"

    def apply(self, text: str) -> str:
        return unicodedata.normalize(self.form, text)

    def python(self, code: Code, variable: str) -> str:
        normalize = code.reference("normalize", unicodedata.normalize)
        return f"{variable} if {variable}.isascii() else {normalize}({self.form!r}, {variable})"


class Replace(_Text, frozen=True, kw_only=True):
    """Put `with` in the place of each match of a regular expression (Python's `re`). `with` is text, taken as it is."""

    verb: ClassVar[str] = "replace"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = 'replace: {fields: [phone], pattern: "[^0-9+]", with: ""}'

    pattern: Annotated[str, Meta(min_length=1, max_length=1000, description="What to look for.")]
    text: Annotated[str, Meta(max_length=1000, description="What to write instead.")] = setting(name="with")

    def effect(self, scope: Scope) -> None:
        try:
            compile_pattern(self.pattern)
        except ValueError as error:
            raise Wrong(f"`pattern` {error}.", "pattern") from error
        super().effect(scope)

    def apply(self, text: str) -> str:
        return compile_pattern(self.pattern).sub(lambda _: self.text, text)

    def python(self, code: Code, variable: str) -> str:
        substitute = code.reference("substitute", compile_pattern(self.pattern).sub)
        return f"{substitute}({self.text.replace(chr(92), chr(92) * 2)!r}, {variable})"

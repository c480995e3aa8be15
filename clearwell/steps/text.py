"""Steps for text: trim, lower, upper, normalize, replace."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec import field as setting

from clearwell.contract.model import Field, Type
from clearwell.contract.patterns import TooMuchWork, compile_pattern
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Scope, Wrong
from clearwell.steps.step import Step

MOST_MARKS = 1_000
"""Combining marks in a row that are still put in order; Unicode's stream-safe format stops at 30."""


class _Text(Step, frozen=True, kw_only=True):
    """What the text steps have in common: string fields, each changed in its place."""

    too_much: ClassVar[str | None] = None
    """What is said of a value that would cost too much, where there may be such; `apply` raises TooMuchWork then."""

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
            assign = f"{code.variable(name)} = {self.python(code, code.variable(name))}"
            with code.unless_null(before[name]):
                if self.too_much is None:
                    code.add(assign)
                    continue
                with code.block("try:"):
                    code.add(assign)
                with code.block(f"except {code.reference('TooMuchWork', TooMuchWork)}:"):
                    code.reject(f"{name} {self.too_much}", name)

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
    """Bring text into a Unicode normal form, so that texts that look alike are alike.

    Text with more than 1,000 combining marks in a row is rejected: no language has it, and it would take minutes.
    """

    verb: ClassVar[str] = "normalize"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = "normalize: {fields: [name], form: NFC}"
    too_much: ClassVar[str | None] = f"has more than {MOST_MARKS} combining marks in a row"

    form: Annotated[Literal["NFC", "NFD", "NFKC", "NFKD"], Meta(description="The normal form.")] = "NFC"

    def apply(self, text: str) -> str:
        return normalize(self.form, text)

    def python(self, code: Code, variable: str) -> str:
        function = code.reference("normalize", normalize)
        return f"{variable} if {variable}.isascii() else {function}({self.form!r}, {variable})"


class Replace(_Text, frozen=True, kw_only=True):
    """Put `with` in the place of each match of a regular expression. `with` is text, taken as it is.

    The language of patterns is RE2's: `\\d`, `\\w`, `\\s` are ASCII alone, `\\p{L}` is a letter of any language, `$` is
    the very end of the text; there is no look-around and no back-reference. A value that would take over a second of
    processor time, or grow by more than 8 MiB, is rejected.
    """

    verb: ClassVar[str] = "replace"
    family: ClassVar[str] = "text"
    example: ClassVar[str] = 'replace: {fields: [phone], pattern: "[^0-9+]", with: ""}'
    too_much: ClassVar[str | None] = "takes too long to replace in, or grows too large"

    pattern: Annotated[str, Meta(min_length=1, max_length=500, description="What to look for.")]
    text: Annotated[str, Meta(max_length=1000, description="What to write instead.")] = setting(name="with")

    def effect(self, scope: Scope) -> None:
        try:
            compile_pattern(self.pattern)
        except ValueError as error:
            raise Wrong(f"`pattern` {error}.", "pattern") from error
        super().effect(scope)

    def apply(self, text: str) -> str:
        return compile_pattern(self.pattern).replace(text, self.text)

    def python(self, code: Code, variable: str) -> str:
        replace = code.reference("replace", compile_pattern(self.pattern).replace)
        return f"{replace}({variable}, {self.text!r})"


def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """`text` in a normal form. Raises TooMuchWork: marks in a row are sorted in the square of their number."""
    if len(text) > MOST_MARKS:
        marks = 0
        for character in text:
            marks = marks + 1 if unicodedata.combining(character) else 0
            if marks > MOST_MARKS:
                raise TooMuchWork("Too many combining marks.")
    return unicodedata.normalize(form, text)

"""The step that forgets nothing too early: deduplicate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.model import Field, Type
from clearwell.steps.code import Code
from clearwell.steps.memory import Seen
from clearwell.steps.scope import Scope, Wrong
from clearwell.steps.step import Step

LONG = 64
"""Characters or bytes; of longer values a digest is remembered, so that a sender can't choose what memory they take."""


def digest_of(value: str | bytes) -> bytes | str:
    """What stands for a long value: never equal to a short one, since it is of the other type."""
    if isinstance(value, str):
        return blake2b(value.encode(), digest_size=20).digest()
    return blake2b(value, digest_size=20).hexdigest()


class Deduplicate(Step, frozen=True, kw_only=True):
    """Drop an event whose value of `by` was seen at most `window` raw offsets ago in the same partition.

    `by` is read at this step; the verdict falls after the last step, and only an event that was not rejected or
    dropped by another step counts as seen. So the repaired copy of a dead letter is never taken for a repeat. A repeat
    counts as seen too, and so extends the time in which it is known. Null is not equal to null: such events all pass.
    """

    verb: ClassVar[str] = "deduplicate"
    family: ClassVar[str] = "duplicates"
    example: ClassVar[str] = "deduplicate: {by: id, window: 20000}"

    by: Annotated[str, Meta(description="The field that tells events apart.")]
    window: Annotated[
        int, Meta(ge=1, le=1_000_000, description="How far back to look, in raw offsets of the partition.")
    ]

    def effect(self, scope: Scope) -> None:
        target = scope.need(self.by, "by")
        if target.type in (Type.JSON, Type.LIST, Type.FLOAT64):
            raise Wrong(f'"{target.name}" is {target.type}, which does not tell events apart.', "by")

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target = before[self.by]
        seen, key, last = code.memory("seen", partial(Seen, self.window)), code.fresh("identity"), code.fresh("last")
        now, earlier = code.fresh("now"), code.fresh("earlier")
        code.opening += [f"{now} = {seen}.now", f"{earlier} = {seen}.before"]
        variable = code.variable(target.name)
        if target.type in (Type.STRING, Type.BYTES) and (target.max_length or LONG + 1) > LONG:
            digest = code.reference("digest", digest_of)
            short = f"_len({variable}) <= {LONG}"
            code.add(f"{key} = {variable} if {variable} is None or {short} else {digest}({variable})")
        else:
            code.add(f"{key} = {variable}")
        look = [
            f"{last} = {now}.get({key})",
            f"if {last} is None:",
            f"    {last} = {earlier}.get({key})",
            f"{now}[{key}] = _offset",
            f"if {last} is not None and _offset - {last} <= {self.window}:",
            f"    _drop((_offset, {code.step!r}))",
            "    continue",
        ]
        code.at_end(*(look if target.required else [f"if {key} is not None:", *("    " + line for line in look)]))

    def lookback(self) -> int:
        return self.window

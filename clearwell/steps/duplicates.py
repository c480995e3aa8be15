"""The step that forgets nothing too early: deduplicate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar

from msgspec import Meta

from clearwell.contract.model import Field
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Scope
from clearwell.steps.step import Step
from clearwell.steps.step_memory import Recent, check_key, emit_key


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
        check_key(scope.need(self.by, "by"), "by")

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target = before[self.by]
        seen, key, last = code.memory("seen", partial(Recent, self.window)), code.fresh("identity"), code.fresh("last")
        now, earlier = code.fresh("now"), code.fresh("earlier")
        code.opening += [f"{now} = {seen}.now", f"{earlier} = {seen}.before"]
        code.add(f"{key} = {emit_key(code, [target])}")
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

"""The step that calls a function of a team's own package: python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta

from clearwell.contract.model import Field, Type
from clearwell.errors import nearest
from clearwell.steps.convert import NOT_EXACT
from clearwell.steps.exact_values import PYTHON, holds
from clearwell.steps.loop_writer import Code
from clearwell.steps.scope import Scope, Wrong
from clearwell.steps.step import PrivacyOfNew, Step

GROUP = "clearwell.steps"
"""The entry-point group in which a package lists its functions, by name."""


class Python(Step, frozen=True, kw_only=True):
    """Compute a new field by a function of your own, from the entry-point group `clearwell.steps` of any package.

    The function gets the values of `inputs` in their order (Decimal, aware datetime in UTC, date and bytes for those
    types) and returns a value of `type`, or None. It is not called where an input is null: the result is then null.
    It must be pure: the same values give the same result, without I/O, or live and backfilled data drift apart.
    ValueError, OverflowError or a result that is not exactly of the type rejects the event.
    """

    verb: ClassVar[str] = "python"
    family: ClassVar[str] = "your own"
    example: ClassVar[str] = "python: {step: great_circle, inputs: [lat, lon], field: miles, type: float64}"

    step: Annotated[str, Meta(description="The name of the entry point.")]
    inputs: Annotated[list[str], Meta(min_length=1, max_length=50, description="The fields to hand to the function.")]
    field: Annotated[str, Meta(description="The name of the new field.")]
    type: Annotated[Type, Meta(description="The exact type of the result; not json or list.")]
    unit: Annotated[str, Meta(max_length=64, description="What the number counts.")] | None = None
    description: Annotated[str, Meta(max_length=2000, description="What the new field means.")] = ""
    privacy: PrivacyOfNew = UNSET

    def effect(self, scope: Scope) -> None:
        sources = [scope.need(name, "inputs", index) for index, name in enumerate(self.inputs)]
        if self.type not in PYTHON:
            raise Wrong(f"A function can't make a {self.type}.", "type")
        _function(self.step)
        privacy = scope.privacy(self.privacy)
        made = Field(self.field, self.type, unit=self.unit, description=self.description, privacy=privacy)
        scope.add(made, "field", source=sources)

    def emit(self, code: Code, before: Mapping[str, Field], after: Mapping[str, Field]) -> None:
        target = code.variable(self.field)
        call = code.reference(f"{self.field}_function", partial(_exactly, after[self.field], _function(self.step)))
        code.add(f"{target} = None")
        with code.unless_null(*(before[name] for name in self.inputs)):
            with code.block("try:"):
                code.add(f"{target} = {call}({', '.join(code.variable(name) for name in self.inputs)})")
            with code.block(f"except {code.reference('NOT_EXACT', NOT_EXACT)}:"):
                code.reject(f"{self.field} could not be computed", self.field)


def _function(name: str) -> Callable[..., Any]:
    """The function behind an entry point. Raises Wrong."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        hint = nearest(name, points) or f" Install the package that lists it in the entry-point group {GROUP}."
        raise Wrong(f'There is no Python step "{name[:80]}".{hint}', "step")
    try:
        function: object = points[name].load()
    except (ImportError, AttributeError) as error:
        raise Wrong(f'The Python step "{name}" can\'t be imported ({type(error).__name__}).', "step") from error
    if not callable(function):
        raise Wrong(f'The Python step "{name}" is not a function.', "step")
    return function


def _exactly(field: Field, function: Callable[..., Any], *values: Any) -> Any:
    """The function's result. Raises ValueError when it is not exactly of the field's type."""
    result = function(*values)
    if result is None:
        return None
    if not holds(field, result):
        raise ValueError("not of the type")
    return result.astimezone(UTC) if isinstance(result, datetime) else result

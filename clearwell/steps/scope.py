"""The fields as a step finds them, and what a step may do to them; the rules of taint are enforced here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from msgspec import UNSET

from clearwell.contract.fields import FIELD_NAME, privacy_of
from clearwell.contract.model import Field, StepCall, Type
from clearwell.contract.privacy import Privacy
from clearwell.contract.problems import Problems
from clearwell.contract.values import canonical, python_value
from clearwell.errors import ContractError, Location, nearest
from clearwell.steps.exact_values import holds

NUMBERS = (Type.INT32, Type.INT64, Type.FLOAT64, Type.DECIMAL)
INTEGERS = (Type.INT32, Type.INT64)


class Wrong(Exception):
    """A step does not fit its contract; `path` leads to the argument that is to blame."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = ".".join(str(part) for part in path)


class UnknownField(Wrong):
    """A step names a field that is not there (any more, or yet)."""


class Scope:
    """The fields in order at one step. A step's `effect` asks for fields and changes them through this."""

    def __init__(self, call: StepCall, fields: Mapping[str, Field]) -> None:
        self.call = call
        self._fields = dict(fields)

    @classmethod
    def over(cls, fields: Mapping[str, Field]) -> Scope:
        """A scope only for looking up, where errors were ruled out before."""
        return cls(StepCall("", None, Location("?", 1)), fields)

    def fields(self) -> Mapping[str, Field]:
        """The fields now, in order, read-only."""
        return MappingProxyType(self._fields)

    def need(self, name: str, *path: str | int, types: Collection[Type] | None = None) -> Field:
        """The field called `name`, of one of `types`; `path` is where the step names it. Raises Wrong."""
        if name not in self._fields:
            raise UnknownField(f'There is no field "{name}" at this step.{nearest(name, self._fields)}', *path)
        field = self._fields[name]
        if types is not None and field.type not in types:
            expected = " or ".join(types)
            raise Wrong(f'"{name}" is {field.type}; {self.call.name} works on {expected}.', *path)
        return field

    def constant(self, field: Field, value: Any, *path: str | int) -> Any:
        """`value` (as written) as the Python value of `field`'s type. Raises Wrong when it does not fit exactly."""
        try:
            return python_value(field.type, canonical(field.type, value))
        except ValueError as error:
            raise Wrong(f'The value for "{field.name}" {error}.', *path) from error

    def value(self, field: Field, value: Any, *path: str | int) -> Any:
        """`constant` for a value that may leave in the field: it must fit it, digits included. Raises Wrong."""
        known = self.constant(field, value, *path)
        if not holds(field, known):
            raise Wrong(f'The value for "{field.name}" does not fit {_described(field)}.', *path)
        return known

    def privacy(self, written: Any, path: str = "privacy") -> Privacy | None:
        """The privacy that an argument spells out; None where it is UNSET. Raises ContractProblems."""
        if written is UNSET:
            return None
        problems = Problems()
        privacy = privacy_of(written, "`privacy`", self.locate(path), problems)
        problems.raise_any()
        return privacy

    def change(self, field: Field, **changes: Any) -> Field:
        """Replace a field in its place; constraints that the new values may break must be cleared by the caller."""
        if "allowed" not in changes and "pattern" not in changes:
            changes |= {"allowed": None, "pattern": None}
        self._fields[field.name] = changed = replace(field, location=self.call.location, **changes)
        return changed

    def require(self, field: Field) -> None:
        """From here on the field is never null."""
        self._fields[field.name] = replace(field, required=True)

    def add(self, field: Field, *path: str | int, source: Collection[Field] = ()) -> None:
        """Append a computed field. Raises Wrong when the name is taken, or when it would carry a protected value on.

        Taint (invariant 6): what is computed from a protected field must say how it is protected itself.
        """
        self._free(field.name, *path)
        tainted = [origin.name for origin in source if origin.privacy is not None]
        if tainted and field.privacy is None:
            raise Wrong(
                f'"{field.name}" is computed from the protected field "{tainted[0]}", so it must be protected too: '
                "give the step a `privacy:`, or leave it out.",
                *path,
            )
        self._fields[field.name] = replace(field, location=self.call.location)

    def rename(self, old: str, new: str, *path: str | int) -> None:
        """Give a field another name in its place; its privacy goes with it. Raises Wrong when the name is taken."""
        field = self.need(old, *path)
        self._free(new, *path, besides=old)
        renamed = replace(field, name=new)
        self._fields = {(new if name == old else name): field for name, field in self._fields.items()}
        self._fields[new] = renamed

    def _free(self, name: str, *path: str | int, besides: str = "") -> None:
        for taken in self._fields:
            if taken.lower() == name.lower() and taken != besides:  # stores may not tell cases apart
                raise Wrong(f'There is a field "{taken}" already: choose another name.', *path)
        if not re.fullmatch(str(FIELD_NAME.pattern), name):
            raise Wrong(f'"{name[:80]}" can\'t be the name of a field: it must be {FIELD_NAME.hint}.', *path)

    def remove(self, name: str, *path: str | int) -> None:
        """Take a field away. Raises Wrong when it is not there."""
        self.need(name, *path)
        del self._fields[name]

    def locate(self, path: str) -> Location:
        """Where the argument at `path` was written, or the nearest thing around it."""
        while path:
            if path in self.call.lines:
                return self.call.lines[path]
            path = path.rpartition(".")[0]
        return self.call.location

    def error(self, wrong: Wrong) -> ContractError:
        """`wrong` with file and line."""
        return ContractError(str(wrong), self.locate(wrong.path))


def _described(field: Field) -> str:
    digits = f" of {field.precision} digits, {field.scale} after the point" if field.type is Type.DECIMAL else ""
    return f"{field.type}{digits}"

"""Writes the Python of a pipeline, a line at a time, so that it is safe by construction and reads well.

Only three kinds of text enter the source: names of declared fields (checked to be plain identifiers), `repr()` of
plain constants, and our own templates. Everything else (patterns, sets, dates) is passed by reference. Names of our
own start with an underscore, so that no field (`id`, `len`, `class`) can ever hide one.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clearwell.contract.model import Field
from clearwell.errors import ContractError

INDENT = "    "

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}\Z")


class Code:
    """A growing piece of Python: the body of the loop over one batch.

    `step` is the name that rejections and drops carry; `steps_by_line` tells an exception's line its step.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.steps_by_line: list[str] = []
        self.memories: list[Callable[[], Any]] = []
        self.opening: list[str] = []
        self.step = ""
        self._depth = 0
        self._variables: dict[str, str] = {}
        self._fresh = 0
        self._endings: list[tuple[str, list[str]]] = []

    def add(self, *lines: str) -> None:
        """Append lines at the present depth."""
        for line in lines:
            self.lines.append(INDENT * self._depth + line)
            self.steps_by_line.append(self.step)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Append `header` and indent what follows inside the `with`."""
        self.add(header)
        self._depth += 1
        yield
        self._depth -= 1

    @contextmanager
    def unless_null(self, *fields: Field) -> Iterator[None]:
        """What follows runs only when none of the fields is null; no test is written for required ones."""
        tests = [f"{self.variable(field.name)} is not None" for field in fields if not field.required]
        if tests:
            with self.block(f"if {' and '.join(dict.fromkeys(tests))}:"):
                yield
        else:
            yield

    def variable(self, name: str) -> str:
        """The local variable that holds the field `name`."""
        if name not in self._variables:
            if not _NAME.match(name):
                raise ContractError(f'"{name[:80]}" can\'t be a field: use letters, digits and _, a letter first.')
            taken = set(self._variables.values())
            own = name
            while keyword.iskeyword(own) or own in taken:
                own += "_"
            self._variables[name] = own
        return self._variables[name]

    def fresh(self, hint: str) -> str:
        """A new local variable of our own."""
        self._fresh += 1
        return f"_{hint}_{self._fresh}"

    def constant(self, hint: str, value: Any) -> str:
        """An expression for `value`: its repr when that is plain, else a name bound to it in the namespace."""
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        if type(value) is float and math.isfinite(value):
            return repr(value)
        return self.reference(hint, value)

    def reference(self, hint: str, value: Any) -> str:
        """A name bound to `value` in the namespace; the same value twice gives the same name."""
        for name, known in self.constants.items():
            if known is value:
                return name
        name = f"_{hint}"
        while name in self.constants:
            self._fresh += 1
            name = f"_{hint}_{self._fresh}"
        self.constants[name] = value
        return name

    def reject(self, reason: str, field: str = "") -> None:
        """The present event ends here as a dead letter. `reason` is a constant and never quotes data (invariant 9)."""
        self.add(f"_reject(_Rejected(_offset, {reason!r}, {self.step!r}, {field!r}))", "continue")

    def drop(self) -> None:
        """The present event ends here, dropped by a declared rule."""
        self.add(f"_drop((_offset, {self.step!r}))", "continue")

    def memory(self, hint: str, make: Callable[[], Any]) -> str:
        """A local variable bound, once a batch, to what this step remembers of the partition."""
        name = self.fresh(hint)
        self.opening.append(f"{name} = _state.memories[{len(self.memories)}]")
        self.memories.append(make)
        return name

    def at_end(self, *lines: str) -> None:
        """Lines (relative indent) for after the last step, under this step's name."""
        self._endings.append((self.step, list(lines)))

    def add_endings(self) -> None:
        """Append what the steps asked for by `at_end`, in their order."""
        for step, lines in self._endings:
            self.step = step
            self.add(*lines)

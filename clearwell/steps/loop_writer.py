"""Writes the Python of a pipeline, a line at a time, so that it is safe by construction and reads well.

Only three kinds of text enter the source: names of declared fields (checked to be plain identifiers), `repr()` of
plain constants, and our own templates. Everything else (patterns, sets, dates) is passed by reference.

Four spaces of names that can't meet, whatever a contract calls its fields: a field begins with a letter; a value that
is bound by reference with `_k_`; a variable that a step asks for with `_v_`; and what the template itself writes is one
of TEMPLATE_LOCALS and TEMPLATE_GLOBALS. Names are made here alone, and `check_names` holds the compiled code to it:
a value must never end up where the loop keeps its own (decision 0026).
"""

from __future__ import annotations

import dis
import keyword
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

from clearwell.contract.model import Field
from clearwell.errors import ContractError, Fatal

INDENT = "    "

TEMPLATE_LOCALS = frozenset(
    [
        "_offsets",
        "_values",
        "_state",
        "_outcomes",
        "_keep_offset",
        "_keep_key",
        "_keep_value",
        "_drop",
        "_reject",
        "_offset",
        "_value",
        "_error",
        "_event",
        "_quotes",
        "_item",
        "_seals",
        "_nonces",
        "_subject",
        "_seal",
        "_clean",
        "_key",
    ]
)
"""Variables that the template assigns."""

TEMPLATE_GLOBALS = frozenset(
    [
        "_Exception",
        "_Rejected",
        "_explain",
        "_len",
        "_not_data",
        "_zip",
        "_decode",
        "_UNSET",
        "_UTC",
        "_Clean",
        "_encode",
        "_sealer_of",
        "_next",
    ]
)
"""Values that the template reads and nothing may assign."""

CONSTANT, OWN = "_k_", "_v_"
"""How the name of a value bound by reference begins, and that of a variable which a step asks for."""

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}\Z")
_HINT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,199}\Z")


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
        self._own: set[str] = set()
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
            if not _FIELD.match(name):
                raise ContractError(f'"{name[:80]}" can\'t be a field: use letters, digits and _, a letter first.')
            taken = set(self._variables.values())
            own = name
            while keyword.iskeyword(own) or own in taken:
                own += "_"
            self._variables[name] = own
        return self._variables[name]

    def fresh(self, hint: str) -> str:
        """A new local variable of our own."""
        assert _HINT.match(hint), hint
        self._fresh += 1
        name = f"{OWN}{hint}_{self._fresh}"
        self._own.add(name)
        return name

    def bind(self, name: str, value: Any) -> None:
        """Bind a value that the template reads under a name of its own."""
        assert name in TEMPLATE_GLOBALS, name
        self.constants[name] = value

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
        assert _HINT.match(hint), hint
        name = f"{CONSTANT}{hint}"
        while name in self.constants:
            self._fresh += 1
            name = f"{CONSTANT}{hint}_{self._fresh}"
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

    def check_names(self, compiled: CodeType) -> None:
        """Raise Fatal when the compiled loop assigns a name that is not its to assign, or reads one that is not bound.

        It never happens while names are made by this class alone; if it did, one field's value could leave in another.
        """
        assigned, read = _names(compiled)
        wrong = assigned - TEMPLATE_LOCALS - self._own - set(self._variables.values())
        wrong |= read - TEMPLATE_GLOBALS - set(self.constants)
        if wrong:
            raise Fatal(
                f"The generated code mixes up names ({', '.join(sorted(wrong))}): this is a mistake of Clearwell."
            )

    def at_end(self, *lines: str) -> None:
        """Lines (relative indent) for after the last step, under this step's name."""
        self._endings.append((self.step, list(lines)))

    def add_endings(self) -> None:
        """Append what the steps asked for by `at_end`, in their order."""
        for step, lines in self._endings:
            self.step = step
            self.add(*lines)


def _names(compiled: CodeType) -> tuple[set[str], set[str]]:
    """The names that a function and the comprehensions inside it assign, and the global ones that they read."""
    assigned = {name for name in compiled.co_varnames if not name.startswith(".")}  # ".0": what a comprehension is over
    read = {
        i.argval for i in dis.get_instructions(compiled) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL")
    }
    for inner in compiled.co_consts:
        if isinstance(inner, CodeType):
            more, others = _names(inner)
            assigned, read = assigned | more, read | others
    return assigned | set(compiled.co_cellvars), read

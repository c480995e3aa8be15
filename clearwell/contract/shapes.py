"""Shapes of values: each reads a node of the tree, noting problems, and knows its JSON Schema.

The language's tables (`clearwell.contract.language`) are made of these, so that what `load` accepts and what an
editor is told can't differ.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clearwell.contract.problems import Problems
from clearwell.contract.tree import Node
from clearwell.contract.values import kind
from clearwell.errors import nearest

_TEMPLATE = re.compile(r"\{\{|\{%|\$\{")


def refuse_templates(node: Node, called: str, problems: Problems) -> None:
    """Note every text below `node` that waits for a template engine: there is none, and none may be guessed at."""
    if isinstance(node.value, str) and _TEMPLATE.search(node.value):
        problems.add(f"{called} holds a template, and templating is not part of the language.", node.location)
    below = node.value.values() if isinstance(node.value, dict) else node.value
    for child in below if not isinstance(below, str | int | float | None) else ():
        refuse_templates(child, called, problems)


class Shape(Protocol):
    """`read` gives the value, or None after noting what is wrong with the thing called `called`."""

    def read(self, node: Node, called: str, problems: Problems) -> Any: ...

    def schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Text:
    """A string, whole match of `pattern`; `hint` says in words what the pattern wants."""

    max_length: int = 2_000
    min_length: int = 1
    pattern: str | None = None
    hint: str = ""

    def read(self, node: Node, called: str, problems: Problems) -> str | None:
        value = node.value
        if not isinstance(value, str):
            quotes = ": write it in quotes" if isinstance(value, int | float) else ""
            problems.add(f"{called} must be text, not {kind(value)}{quotes}.", node.location)
            return None
        before = len(problems)
        refuse_templates(node, called, problems)
        if len(problems) > before:
            return None
        if not self.min_length <= len(value) <= self.max_length:
            problems.add(f"{called} must have {self.min_length} to {self.max_length} characters.", node.location)
        elif self.pattern and not re.fullmatch(self.pattern, value):
            problems.add(f'{called} is "{value[:80]}", but must be {self.hint}.', node.location)
        else:
            return value
        return None

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "minLength": self.min_length, "maxLength": self.max_length}
        return schema | ({"pattern": f"^{self.pattern}$"} if self.pattern else {})


@dataclass(frozen=True)
class Whole:
    """A whole number between two bounds, inclusive."""

    minimum: int
    maximum: int

    def read(self, node: Node, called: str, problems: Problems) -> int | None:
        value = node.value
        if type(value) is not int:
            problems.add(f"{called} must be a whole number, not {kind(value)}.", node.location)
        elif not self.minimum <= value <= self.maximum:
            problems.add(f"{called} must lie between {self.minimum} and {self.maximum}.", node.location)
        else:
            return value
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True)
class Positive:
    """A finite number above zero."""

    def read(self, node: Node, called: str, problems: Problems) -> int | float | None:
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
            return value
        problems.add(f"{called} must be a number above 0.", node.location)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "exclusiveMinimum": 0}


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def read(self, node: Node, called: str, problems: Problems) -> bool | None:
        if isinstance(node.value, bool):
            return node.value
        problems.add(f"{called} must be true or false, not {kind(node.value)}.", node.location)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice:
    """One of a closed set of words."""

    words: Sequence[str]

    def read(self, node: Node, called: str, problems: Problems) -> str | None:
        if isinstance(node.value, str) and node.value in self.words:
            return node.value
        said = str(node.value)[:80] if isinstance(node.value, str | int | float) else kind(node.value)
        known = ", ".join(self.words)
        problems.add(f'{called} can\'t be "{said}": it is one of {known}.{nearest(said, self.words)}', node.location)
        return None

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


@dataclass(frozen=True)
class Anything:
    """Any value, kept as dicts, lists and scalars; `described` is its JSON Schema."""

    described: Mapping[str, Any]

    def read(self, node: Node, called: str, problems: Problems) -> Any:
        return node.plain()

    def schema(self) -> dict[str, Any]:
        return dict(self.described)


@dataclass(frozen=True)
class PlainValue:
    """Text, a number, true or false; whether it fits a field's type is judged where the type is known."""

    def read(self, node: Node, called: str, problems: Problems) -> str | int | float | bool | None:
        if isinstance(node.value, str | int | float):
            return node.value
        problems.add(f"{called} must be one value, not {kind(node.value)}.", node.location)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True)
class ListOf:
    """A list of `item`s; with `lone`, one item may stand without brackets."""

    item: Shape
    minimum: int = 0
    maximum: int = 1_000
    lone: bool = False

    def read(self, node: Node, called: str, problems: Problems) -> list[Any] | None:
        if self.lone and not isinstance(node.value, list):
            only = self.item.read(node, called, problems)
            return None if only is None else [only]
        if not isinstance(node.value, list):
            problems.add(f"{called} must be a list, not {kind(node.value)}.", node.location)
            return None
        if not self.minimum <= len(node.value) <= self.maximum:
            problems.add(f"{called} must hold {self.minimum} to {self.maximum} items.", node.location)
            return None
        items = [self.item.read(child, f"{called}, item {at},", problems) for at, child in enumerate(node.value, 1)]
        return None if any(item is None for item in items) else items

    def schema(self) -> dict[str, Any]:
        item = self.item.schema()
        many = {"type": "array", "items": item, "minItems": self.minimum, "maxItems": self.maximum}
        return {"anyOf": [item, many]} if self.lone else many


@dataclass(frozen=True)
class Key:
    """One key of a record: its shape, whether it must be there, and what it means."""

    shape: Shape
    required: bool = False
    says: str = ""


@dataclass(frozen=True)
class RecordShape:
    """A map with known keys; others are refused with the nearest right spelling, unless `others` reads them.

    `build` makes the value from what was read (wrong keys are left out of it) and may note more problems.
    """

    keys: Mapping[str, Key]
    build: Callable[[dict[str, Any], Node, str, Problems], Any] | None = None
    others: Shape | None = None

    def read(self, node: Node, called: str, problems: Problems) -> Any:
        if not isinstance(node.value, dict):
            problems.add(f"{called} must be a map, not {kind(node.value)}.", node.location)
            return None
        before = len(problems)
        values: dict[str, Any] = {}
        for name, child in node.value.items():
            shape = self.keys[name].shape if name in self.keys else self.others
            if shape is not None and child.value is None:
                problems.add(f"`{name[:80]}` of {called} is empty: give it a value or remove it.", child.location)
            elif shape is None:
                hint = nearest(name, self.keys) or f" Known keys: {', '.join(self.keys)}."
                problems.add(f'{called} has no key "{name[:80]}".{hint}', child.named_at or child.location)
            elif (value := shape.read(child, f"`{name}` of {called}", problems)) is not None:
                values[name] = value
        for name, key in self.keys.items():
            if key.required and name not in node.value:
                problems.add(f'{called} lacks the key "{name}".', node.named_at or node.location)
        if self.build is None:
            return values if len(problems) == before else None
        return self.build(values, node, called, problems)

    def schema(self) -> dict[str, Any]:
        properties = {name: key.shape.schema() | _described(key.says) for name, key in self.keys.items()}
        required = [name for name, key in self.keys.items() if key.required]
        others: Any = self.others.schema() if self.others else False
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": others}


def _described(says: str) -> dict[str, str]:
    return {"description": says} if says else {}


@dataclass(frozen=True)
class Named:
    """A map from names to values of one shape; read as a dict in the order written."""

    name: Text
    item: Shape
    each: str
    maximum: int = 1_000

    def read(self, node: Node, called: str, problems: Problems) -> dict[str, Any] | None:
        if not isinstance(node.value, dict):
            problems.add(f"{called} must be a map, not {kind(node.value)}.", node.location)
            return None
        if not 1 <= len(node.value) <= self.maximum:
            problems.add(f"{called} must hold 1 to {self.maximum} entries.", node.location)
            return None
        values: dict[str, Any] = {}
        for name, child in node.value.items():
            name_node = Node(name, child.named_at or child.location)
            if self.name.read(name_node, f"The name of a {self.each}", problems) is not None:
                values[name] = self.item.read(child, f'{self.each} "{name}"', problems)
        return values

    def schema(self) -> dict[str, Any]:
        names = {"pattern": f"^{self.name.pattern}$", "maxLength": self.name.max_length}
        return {
            "type": "object",
            "propertyNames": names,
            "additionalProperties": self.item.schema(),
            "minProperties": 1,
        }

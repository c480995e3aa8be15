"""YAML text → a tree of values that know their line. The safe part of YAML 1.2 and nothing else.

Refused, each with its line: anchors, aliases, merge keys, tags, directives, duplicate keys, keys that are not text,
more than one document, numbers whose meaning readers differ on (010, 1_000, .nan). `yes`, `NO` and dates are text, as
in YAML 1.2 and in editors, not the surprises of YAML 1.1. Size, depth and count are bounded: no file can hang a reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from clearwell.errors import ContractError, Location
from clearwell.terminal import printable

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
MAX_NODES = 40_000
MAX_SCALAR = 20_000

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]{0,39})(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,3})?\Z")
_ODD_NUMBER = re.compile(r"[-+]?(0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*|\.(inf|nan)|[0-9]{41,})\Z", re.I)
_WORDS: dict[str, bool | None] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was written; `named_at` is where its key was written, when it has one."""

    value: Scalar | list[Node] | dict[str, Node]
    location: Location
    named_at: Location | None = None

    @classmethod
    def of(
        cls, value: Any, location: Location, lines: Mapping[str, Location] = MappingProxyType({}), path: str = ""
    ) -> Node:
        """The tree of a plain value again; `lines` says where each value of it was written, as `lines()` does."""
        location = lines.get(path, location)
        below = f"{path}." if path else ""
        inner: Scalar | list[Node] | dict[str, Node]
        if isinstance(value, Mapping):
            inner = {name: cls.of(child, location, lines, f"{below}{name}") for name, child in value.items()}
        elif isinstance(value, list):
            inner = [cls.of(child, location, lines, f"{below}{at}") for at, child in enumerate(value)]
        else:
            inner = value
        return cls(inner, location, location)

    def plain(self) -> Any:
        """The value as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def lines(self, path: str = "") -> dict[str, Location]:
        """Where each value below this one was written, by dotted path ("fields.0")."""
        children: Iterator[tuple[str, Node]] = iter(())
        if isinstance(self.value, dict):
            children = iter(self.value.items())
        elif isinstance(self.value, list):
            children = ((str(index), child) for index, child in enumerate(self.value))
        lines: dict[str, Location] = {}
        for name, child in children:
            below = f"{path}.{name}" if path else name
            lines[below] = child.named_at or child.location
            lines |= child.lines(below)
        return lines


def parse(text: str, file: str) -> Node:
    """The tree of one YAML document. Raises ContractError at the first thing that is not of the safe part."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ContractError(f"The file is larger than {MAX_BYTES // 1024} KiB; a contract is not.", Location(file, 1))
    try:
        return _Reader(file, yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except yaml.YAMLError as error:
        raise ContractError(printable(f"This is not YAML: {_said(error)}."), _place_of(error, file)) from error
    except (ValueError, OverflowError) as error:  # PyYAML lets "\UFFFFFFFF" through to chr()
        raise ContractError("This is not YAML: a character escape names no character.", Location(file, 1)) from error


def _said(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return ", ".join(part for part in (error.context, error.problem) if part)
    return "it holds a character that YAML forbids"


def _place_of(error: yaml.YAMLError, file: str) -> Location:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return Location(file, mark.line + 1, mark.column + 1) if mark else Location(file, 1)


class _Reader:
    """Builds the tree from PyYAML's events; events come one by one, so a bound stops a hostile file early."""

    def __init__(self, file: str, events: Iterator[Event]) -> None:
        self._file = file
        self._events = events
        self._nodes = 0

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if event.version or event.tags:
                    raise self._wrong("Directives (%YAML, %TAG) are not part of the language.", event)
                if root is not None:
                    raise self._wrong("A file holds one contract: remove what follows `---`.", event)
                root = self._node(next(self._events), 1)
            elif isinstance(event, StreamEndEvent):
                break
        if root is None:
            raise ContractError("The file is empty.", Location(self._file, 1))
        return root

    def _place(self, event: Event) -> Location:
        mark = event.start_mark
        return Location(self._file, mark.line + 1, mark.column + 1) if mark else Location(self._file, 1)

    def _wrong(self, message: str, event: Event) -> ContractError:
        return ContractError(printable(message), self._place(event))

    def _node(self, event: Event, depth: int, named_at: Location | None = None) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._wrong(f"The file holds more than {MAX_NODES} values; a contract does not.", event)
        if depth > MAX_DEPTH:
            raise self._wrong(f"This is nested deeper than {MAX_DEPTH} levels.", event)
        if isinstance(event, AliasEvent):
            raise self._wrong("Aliases (*name) are not part of the language: write the value out.", event)
        if getattr(event, "anchor", None):
            raise self._wrong("Anchors (&name) are not part of the language: write the value out.", event)
        if getattr(event, "tag", None):
            raise self._wrong("Tags (!...) are not part of the language: remove it.", event)
        if isinstance(event, ScalarEvent):
            return Node(self._scalar(event), self._place(event), named_at)
        assert isinstance(event, CollectionStartEvent)
        below = self._map(depth + 1) if isinstance(event, MappingStartEvent) else self._list(depth + 1)
        return Node(below, self._place(event), named_at)

    def _list(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth))
        return items

    def _map(self, depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        while isinstance(event := next(self._events), ScalarEvent | CollectionStartEvent | AliasEvent):
            key = self._node(event, depth)
            name = event.value if isinstance(event, ScalarEvent) else None
            if name is None:
                raise self._wrong("A key must be text: templates and complex keys are not part of the language.", event)
            if name == "<<":
                raise self._wrong("Merge keys (<<) are not part of the language: write the values out.", event)
            if not isinstance(key.value, str):
                raise self._wrong(f'A key must be text: write "{name[:40]}" in quotes.', event)
            if name in children:
                raise self._wrong(
                    f'"{name[:80]}" is written twice; it was first written on line '
                    f"{(children[name].named_at or key.location).line}.",
                    event,
                )
            children[name] = self._node(next(self._events), depth, key.location)
        return children

    def _scalar(self, event: ScalarEvent) -> Scalar:
        text: str = event.value
        if len(text) > MAX_SCALAR:
            raise self._wrong(f"This text is longer than {MAX_SCALAR} characters.", event)
        if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text):
            raise self._wrong("This text holds a lone surrogate or NUL, which no store can hold.", event)
        if event.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.match(text):
            return int(text)
        if _ODD_NUMBER.match(text):
            raise self._wrong(f"Readers differ on what {text[:40]} is: write a plain number, or text in quotes.", event)
        if _FLOAT.match(text):
            return self._float(text, event)
        return text

    def _float(self, text: str, event: ScalarEvent) -> float:
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise self._wrong("This number is too large for a float64.", event)
        return number

"""The part of the language that declares fields: its table, and what the keys of one field must agree on."""

from __future__ import annotations

from typing import Any

from clearwell.contract.model import Field, Type
from clearwell.contract.patterns import compile_pattern
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.contract.problems import Problems
from clearwell.contract.shapes import Choice, Flag, Key, ListOf, PlainValue, Positive, RecordShape, Text, Whole
from clearwell.contract.tree import Node
from clearwell.contract.values import NUMBERS, ORDERED, canonical, python_value, width_misfit
from clearwell.errors import Location

FIELD_NAME = Text(63, 1, "[A-Za-z][A-Za-z0-9_]{0,62}", "letters, digits and _, at most 63, beginning with a letter")
"""An allow-list: SQL identifiers are built from these. Names beginning with _ are Clearwell's own columns."""

EXTRA = "extra"
"""Reserved where `unknown_fields: keep` gathers the rest in this column."""

SCALARS = tuple(type_ for type_ in Type if type_ not in (Type.LIST, Type.JSON))
MAX_LENGTH = 1_048_576
_LENGTHS = (Type.STRING, Type.BYTES, Type.LIST)


class PrivacyShape:
    """`privacy: encrypt`, or `privacy: {generalise: 10}` where the width of a bucket is needed."""

    plain = tuple(kind.value for kind in PrivacyKind if not kind.traits.has_width)
    with_width = tuple(kind for kind in PrivacyKind if kind.traits.has_width)

    def read(self, node: Node, called: str, problems: Problems) -> Privacy | None:
        if isinstance(node.value, dict):
            kind = next((kind for kind in self.with_width if kind in node.value), self.with_width[0])
            width = RecordShape({kind.value: Key(Positive(), required=True)}).read(node, called, problems)
            return Privacy(kind, float(width[kind])) if width else None
        if node.value in self.with_width:
            problems.add(f"{called} needs the width of a bucket: write {{{node.value}: 10}}.", node.location)
            return None
        word = Choice([*self.plain, *map(str, self.with_width)]).read(node, called, problems)
        return Privacy(PrivacyKind(word)) if word else None

    def schema(self) -> dict[str, Any]:
        says = "Width of a bucket: in the field's unit; days of a date, seconds of a timestamp."
        widths = [RecordShape({kind.value: Key(Positive(), required=True, says=says)}) for kind in self.with_width]
        return {"anyOf": [{"enum": list(self.plain)}, *(width.schema() for width in widths)]}


def privacy_of(value: Any, called: str, location: Location, problems: Problems) -> Privacy | None:
    """The privacy that a step's plain argument spells out; None after noting what is wrong."""
    width = (
        {name: Node(inner, location, location) for name, inner in value.items()} if isinstance(value, dict) else None
    )
    return PrivacyShape().read(Node(value if width is None else width, location), called, problems)


def build_field(read: dict[str, Any], node: Node, called: str, problems: Problems) -> Field | None:
    """A nameless Field from what its keys say, with every disagreement between them noted."""
    if "type" not in read:
        return None
    written = _Found(read, node, called, problems, Type(read["type"]))
    written.check_fit()
    low, high = written.bound("min"), written.bound("max")
    written.check_order(low, high)
    return Field(
        name="",
        type=written.type,
        required=read.get("required", False),
        items=Type(read["items"]) if "items" in read else None,
        minimum=low,
        maximum=high,
        max_length=read.get("max_length"),
        pattern=written.pattern(),
        allowed=written.allowed(),
        precision=read.get("precision", 38),
        scale=written.scale(),
        unit=read.get("unit"),
        description=read.get("description", ""),
        privacy=written.privacy(),
        location=node.named_at or node.location,
    )


class _Found:
    """The keys of one field while they are checked against its type."""

    def __init__(self, read: dict[str, Any], node: Node, called: str, problems: Problems, type_: Type) -> None:
        self.read, self._called, self._problems, self.type = read, called, problems, type_
        assert isinstance(node.value, dict)
        self._nodes: dict[str, Node] = node.value
        self._node = node

    def _wrong(self, key: str, message: str) -> None:
        node = self._nodes.get(key, self._node)
        self._problems.add(f"{self._called}: {message}.", node.named_at or node.location)

    def check_fit(self) -> None:
        """Keys that only some types have."""
        fits = {"min": ORDERED, "max": ORDERED, "max_length": _LENGTHS, "pattern": (Type.STRING,)}
        fits |= {"precision": (Type.DECIMAL,), "scale": (Type.DECIMAL,), "items": (Type.LIST,), "unit": NUMBERS}
        for key, types in fits.items():
            if key in self.read and self.type not in types:
                self._wrong(key, f"`{key}` does not apply to {self.type}, only to {', '.join(sorted(types))}")
        if self.type is Type.LIST and "items" not in self._nodes:
            self._wrong("type", "a list needs `items`, the type of its items")
        if self.read.get("scale", 0) > self.read.get("precision", 38):
            self._wrong("scale", "`scale` is larger than `precision`")

    def bound(self, key: str) -> Any:
        """`min` or `max` as a canonical constant of the field's type; None when there is none or it is wrong."""
        if key not in self.read or self.type not in ORDERED:
            return None
        try:
            return canonical(self.type, self.read[key])
        except ValueError as error:
            self._wrong(key, f"`{key}` {error}")
        return None

    def check_order(self, low: Any, high: Any) -> None:
        """`min` may not lie above `max`; canonical timestamps and dates compare as Python values."""
        if low is None or high is None:
            return
        if python_value(self.type, low) > python_value(self.type, high):
            self._wrong("min", "`min` is larger than `max`")

    def scale(self) -> int:
        """Digits of a decimal after the point; 9 unless the precision leaves less room."""
        scale: int = self.read.get("scale", min(9, self.read.get("precision", 38)))
        return scale

    def pattern(self) -> str | None:
        pattern: str | None = self.read.get("pattern")
        if pattern is None or self.type is not Type.STRING:
            return None
        try:
            compile_pattern(pattern)
        except ValueError as error:
            self._wrong("pattern", f"`pattern` {error}")
        return pattern

    def allowed(self) -> tuple[Any, ...] | None:
        values = self.read.get("allowed")
        if values is None:
            return None
        try:
            constants = tuple(canonical(self.type, value) for value in values)
        except ValueError as error:
            self._wrong("allowed", f"each of `allowed` {error}")
            return None
        if len(set(constants)) != len(constants):
            self._wrong("allowed", "`allowed` names a value twice")
        return constants

    def privacy(self) -> Privacy | None:
        privacy: Privacy | None = self.read.get("privacy")
        if privacy and privacy.width is not None:
            wrong = width_misfit(self.type, privacy.width, self.scale())
            if wrong:
                self._wrong("privacy", wrong)
        return privacy


FIELD = RecordShape(
    {
        "type": Key(Choice([type_.value for type_ in Type]), required=True, says="The exact type; nothing is cast."),
        "required": Key(Flag(), says="Whether every event has it, not null. Default: false."),
        "items": Key(Choice([type_.value for type_ in SCALARS]), says="The type of a list's items."),
        "min": Key(PlainValue(), says="Least value, inclusive; of the field's type and unit."),
        "max": Key(PlainValue(), says="Greatest value, inclusive; of the field's type and unit."),
        "max_length": Key(Whole(1, MAX_LENGTH), says="Most characters, bytes or items."),
        "pattern": Key(Text(500), says="A regular expression (RE2) that the whole value matches."),
        "allowed": Key(ListOf(PlainValue(), minimum=1), says="The only values there are."),
        "precision": Key(Whole(1, 38), says="Digits of a decimal in all. Default: 38."),
        "scale": Key(Whole(0, 38), says="Digits of a decimal after the point. Default: 9."),
        "unit": Key(Text(64), says="What a number counts, such as min or mile."),
        "description": Key(Text(2_000), says="What it means, for those who read it."),
        "privacy": Key(PrivacyShape(), says="How the value is protected when it leaves the cleaner."),
    },
    build=build_field,
)

"""What a contract says, as plain frozen values: no I/O, no behaviour beyond look-ups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as setting
from enum import StrEnum
from typing import Any

from clearwell.contract.privacy import Privacy
from clearwell.errors import ConfigError, Location, nearest


class Type(StrEnum):
    """The field types. Values on the wire are JSON; the note says how each is written there.

    decimal: string of digits ("12.50"). timestamp: RFC 3339, stored as UTC with "Z". date: "YYYY-MM-DD".
    bytes: base64 string. json: any JSON value. list: array of one scalar type (see `Field.items`).
    """

    STRING = "string"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT64 = "float64"
    DECIMAL = "decimal"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"
    BYTES = "bytes"
    LIST = "list"


class UnknownFields(StrEnum):
    """What happens to fields the contract does not declare. `keep` gathers them in the json column `extra`.

    `extra` is encrypted where the contract protects anything.
    """

    REJECT = "reject"
    DROP = "drop"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: declared by the contract (input), or computed by the steps (clean).

    `minimum`/`maximum` bound numbers (inclusive, the field's unit), `max_length` bounds characters, bytes or items.
    `precision`/`scale` are digits of a decimal. `items` is the scalar type of a list.
    """

    name: str
    type: Type
    required: bool = False
    items: Type | None = None
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    max_length: int | None = None
    pattern: str | None = None
    allowed: tuple[Any, ...] | None = None
    precision: int = 38
    scale: int = 9
    unit: str | None = None
    description: str = ""
    privacy: Privacy | None = None
    location: Location | None = setting(default=None, compare=False)

    @property
    def is_protected_text(self) -> bool:
        """Whether clean events hold the text of a protection in the value's place."""
        return self.privacy is not None and not self.privacy.kind.traits.keeps_type

    @property
    def clean_type(self) -> Type:
        """The type of the values in clean events: what protection turns into a string is a string."""
        return Type.STRING if self.is_protected_text else self.type


@dataclass(frozen=True, slots=True)
class StepCall:
    """One entry under `steps:`, not yet understood: `clearwell.steps.bind` gives it meaning.

    `lines` maps an argument's dotted path inside the step ("fields.0") to where it was written.
    """

    name: str
    args: Any
    location: Location
    lines: Mapping[str, Location] = setting(default_factory=dict, compare=False)


class Op(StrEnum):
    """The closed set of comparisons of a `when`."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    EXISTS = "exists"
    ALL = "all"
    ANY = "any"
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Condition:
    """A tree of comparisons: `field`/`value` for a comparison, `parts` for all, any, not."""

    op: Op
    field: str | None = None
    value: Any = None
    parts: tuple[Condition, ...] = ()
    location: Location | None = None


ARCHIVE = "archive"
"""The kind of a route that takes raw events, sealed whole, before anything is made of them."""


@dataclass(frozen=True, slots=True)
class Route:
    """One destination of the stream's clean events: `to` is "kind" or "kind.name"; `options` are the destination's own.

    The name is that of a registered destination (`clearwell destination register`), or of a feature view.
    """

    to: str
    when: Condition | None = None
    options: Mapping[str, Any] = setting(default_factory=dict)
    location: Location | None = setting(default=None, compare=False)

    @property
    def kind(self) -> str:
        """What stands before the dot."""
        return self.to.partition(".")[0]

    @property
    def name(self) -> str | None:
        """What stands after the dot, if anything."""
        return self.to.partition(".")[2] or None

    def wants(self, schema: CleanSchema) -> Callable[[tuple[Any, ...]], bool] | None:
        """Whether a clean row goes this way, as a function of it; None where each does, so that no row pays for it.

        Raises ContractProblems when the condition does not fit the schema or compares a protected field.
        """
        from clearwell.contract.condition import compile_condition  # which is made of the values here

        return None if self.when is None else compile_condition(self.when, schema)


@dataclass(frozen=True, slots=True)
class RejectionLimits:
    """The stop rule: end the cleaner when `rejected` of the last `of_last` events were rejected."""

    rejected: int = 5_000
    of_last: int = 10_000


@dataclass(frozen=True, slots=True)
class Example:
    """A test the contract carries. Exactly one of `expect`, `dropped`, `rejected` is set.

    `given` is one event, or a list of events for steps that remember; the expectation is about the last one.
    `rejected` is a part of the expected reason; `dropped` names the step.
    """

    name: str
    given: tuple[Any, ...]
    expect: Mapping[str, Any] | None = None
    dropped: str | None = None
    rejected: str | None = None
    location: Location | None = setting(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of one stream. `key`, `event_id`, `event_time`, `subject` name fields of the *clean* event.

    `routes` are those of clean events, which deliverers follow; `archives` those of raw ones, which the archiver does.
    """

    stream: str
    version: int
    owner: str
    description: str
    key: tuple[str, ...]
    event_id: str
    event_time: str
    subject: str | None
    unknown_fields: UnknownFields
    fields: tuple[Field, ...]
    steps: tuple[StepCall, ...]
    routes: tuple[Route, ...]
    limits: RejectionLimits
    examples: tuple[Example, ...]
    location: Location = setting(compare=False, default=Location("?", 1))
    lines: Mapping[str, Location] = setting(default_factory=dict, compare=False)
    archives: tuple[Route, ...] = ()

    def route(self, to: str) -> Route:
        """The route of clean events to the destination `to`. Raises ConfigError, with the nearest one, without it."""
        for route in self.routes:
            if route.to == to:
                return route
        hint = nearest(to, [route.to for route in self.routes])
        raise ConfigError(f"{self.stream} v{self.version} has no route to {to}.{hint}", code="no_route")


@dataclass(frozen=True, slots=True)
class CleanSchema:
    """The shape of a clean event: the fields in order, after all steps and privacy.

    A protected field (`privacy` set) is a nullable-as-declared string on the wire unless it is generalised.
    """

    stream: str
    version: int
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    event_id: str
    event_time: str
    subject: str | None = None

    def field(self, name: str) -> Field:
        """The field called `name`; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

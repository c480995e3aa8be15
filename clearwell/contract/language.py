"""The contract language as tables. `load` reads by them, and editors get their JSON Schema from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearwell.contract.condition import COMPARISONS, read_condition
from clearwell.contract.feature_language import OPTIONS as FEATURE_OPTIONS
from clearwell.contract.fields import FIELD, FIELD_NAME
from clearwell.contract.model import Condition, Example, Op, RejectionLimits, Route, StepCall, UnknownFields
from clearwell.contract.problems import Problems
from clearwell.contract.shapes import Anything, Choice, Key, ListOf, Named, RecordShape, Text, Whole, refuse_templates
from clearwell.contract.tree import Node
from clearwell.contract.values import kind

STREAM_NAME = Text(63, 1, "[a-z][a-z0-9_]{0,62}", "lower-case letters, digits and _, beginning with a letter")
"""An allow-list: topics, groups and SQL identifiers are built from it."""

WORD = Text(63, 1, "[a-z][a-z0-9_]{0,62}", "a lower-case word")
TOPIC = Text(249, 1, r"[A-Za-z0-9._-]{1,249}", "the name of a Kafka topic")
DESTINATION = Text(
    127, 1, r"[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?", "a kind of destination, or kind.name, in lower case"
)
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class WhenShape:
    """A condition; see `clearwell.contract.condition`."""

    def read(self, node: Node, called: str, problems: Problems) -> Condition | None:
        return read_condition(node.plain(), node.location, node.lines("when"), problems, "when")

    def schema(self) -> dict[str, Any]:
        return {"$ref": "#/$defs/condition"}


class StepShape:
    """`- name: arguments`; what the arguments may be is the business of `clearwell.steps`."""

    def read(self, node: Node, called: str, problems: Problems) -> StepCall | None:
        if not isinstance(node.value, dict) or len(node.value) != 1:
            what = "with one step each" if isinstance(node.value, dict) else f"not {kind(node.value)}"
            problems.add(f"{called} must be a map with one key, the step's name ({what}).", node.location)
            return None
        refuse_templates(node, called, problems)
        ((name, args),) = node.value.items()
        return StepCall(name, args.plain(), args.named_at or node.location, args.lines())

    def schema(self) -> dict[str, Any]:
        return {"$ref": "#/$defs/step"}


def _build_route(read: dict[str, Any], node: Node, called: str, problems: Problems) -> Route | None:
    if "to" not in read:
        return None
    refuse_templates(node, called, problems)
    options = {name: value for name, value in read.items() if name not in ("to", "when")}
    return Route(read["to"], read.get("when"), options, node.location)


def _build_limits(read: dict[str, Any], node: Node, called: str, problems: Problems) -> RejectionLimits | None:
    limits = RejectionLimits(**read)
    if limits.rejected <= limits.of_last:
        return limits
    problems.add(f"{called}: `rejected` can't be more than `of_last` ({limits.of_last}).", node.location)
    return None


def _build_example(read: dict[str, Any], node: Node, called: str, problems: Problems) -> Example | None:
    written = node.value if isinstance(node.value, dict) else {}
    outcomes = [name for name in ("expect", "dropped", "rejected") if name in written]
    if len(outcomes) != 1:
        problems.add(f"{called} needs exactly one of `expect`, `dropped` and `rejected`.", node.location)
        return None
    if "name" not in read or "given" not in read:
        return None
    return Example(given=tuple(read.pop("given")), location=node.location, **read)


class GivenShape:
    """One event, or a list of events where steps remember; an event is a map, or text that stands for its bytes."""

    def read(self, node: Node, called: str, problems: Problems) -> list[Any] | None:
        events = node.plain() if isinstance(node.value, list) else [node.plain()]
        if events and all(isinstance(event, dict | str) for event in events):
            return list(events)
        problems.add(f"{called} must be an event (a map, or the raw text of one) or a list of events.", node.location)
        return None

    def schema(self) -> dict[str, Any]:
        event = {"type": ["object", "string"]}
        return {"anyOf": [event, {"type": "array", "items": event, "minItems": 1}]}


class ExpectShape:
    """Fields and their values; null means that the field is there and null."""

    def read(self, node: Node, called: str, problems: Problems) -> dict[str, Any] | None:
        if isinstance(node.value, dict):
            return {name: child.plain() for name, child in node.value.items()}
        problems.add(f"{called} must be a map of fields and values, not {kind(node.value)}.", node.location)
        return None

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


ROUTE = RecordShape(
    {
        "to": Key(DESTINATION, required=True, says="The destination: a kind such as postgres, or kind.name."),
        "when": Key(WhenShape(), says="Only events for which this holds. Default: all."),
    }
    # Judged where the clean schema is known, as all options are (clearwell.contract.routes).
    | {name: Key(Anything(key.shape.schema()), says=key.says) for name, key in FEATURE_OPTIONS.items()},
    build=_build_route,
    others=Anything({"type": ["string", "number", "boolean"]}),
)

LIMITS = RecordShape(
    {
        "rejected": Key(
            Whole(1, 10_000_000),
            says="Stop the cleaner, or of several connectors the one that sends most of it, when so many events are "
            "rejected of the last `of_last`. Default: 5000.",
        ),
        "of_last": Key(Whole(1, 10_000_000), says="How many events back `rejected` counts. Default: 10000."),
    },
    build=_build_limits,
)

EXAMPLE = RecordShape(
    {
        "name": Key(Text(200), required=True, says="What the example shows."),
        "given": Key(GivenShape(), required=True, says="A raw event, or several; the outcome is the last one's."),
        "expect": Key(ExpectShape(), says="Fields of the clean event and their values."),
        "dropped": Key(Text(200), says="The name of the step that drops the event."),
        "rejected": Key(Text(500), says="A part of the reason for which the event is rejected."),
    },
    build=_build_example,
)

CONTRACT = RecordShape(
    {
        "stream": Key(STREAM_NAME, required=True, says="The stream's name; also the folder of the file."),
        "version": Key(Whole(1, 9_999), required=True, says="The version; also the file's name, v<version>.yaml."),
        "owner": Key(Text(200), required=True, says="Who answers for the stream."),
        "description": Key(Text(4_000), says="What one event is."),
        "key": Key(
            ListOf(FIELD_NAME, minimum=1, maximum=16, lone=True),
            required=True,
            says="The clean field, or fields, by which a destination keeps one row.",
        ),
        "event_id": Key(FIELD_NAME, required=True, says="The clean field that tells events apart."),
        "event_time": Key(FIELD_NAME, required=True, says="The clean timestamp by which newer replaces older."),
        "subject": Key(FIELD_NAME, says="The field that says whose data an event is."),
        "unknown_fields": Key(
            Choice([word.value for word in UnknownFields]),
            says="What happens to undeclared fields; keep gathers them in `extra`, encrypted where a contract protects "
            "anything. Default: reject.",
        ),
        "fields": Key(Named(FIELD_NAME, FIELD, "field"), required=True, says="The fields of a raw event."),
        "steps": Key(ListOf(StepShape(), maximum=200), says="The cleaning steps, in order."),
        "routes": Key(ListOf(ROUTE, maximum=50), says="Where clean events go."),
        "limits": Key(LIMITS, says="When too much is wrong to go on."),
        "tests": Key(ListOf(EXAMPLE), says="Examples that `clearwell contract test` runs."),
    }
)


def json_schema(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a contract file, for editors; `steps` maps step names to schemas of their arguments."""
    by_name = [
        {"type": "object", "properties": {name: args}, "required": [name], "additionalProperties": False}
        for name, args in sorted(steps.items())
    ]
    head = {"$schema": DIALECT, "title": "Clearwell contract", "description": "One version of one stream."}
    defs = {"condition": _condition_schema(), "step": {"oneOf": by_name} if by_name else {"type": "object"}}
    return head | CONTRACT.schema() | {"$defs": defs}


def _condition_schema() -> dict[str, Any]:
    scalar: dict[str, Any] = {"type": ["string", "number", "boolean"]}
    itself = {"$ref": "#/$defs/condition"}
    values: dict[Op, dict[str, Any]] = dict.fromkeys(COMPARISONS, scalar)
    values |= {Op.IN: {"type": "array", "items": scalar, "minItems": 1}, Op.EXISTS: {"type": "boolean"}}
    choices = [_closed({"field": FIELD_NAME.schema(), op.value: shape}) for op, shape in values.items()]
    many = {"type": "array", "items": itself, "minItems": 1}
    return {"oneOf": [*choices, *(_closed({op.value: many}) for op in (Op.ALL, Op.ANY)), _closed({"not": itself})]}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }

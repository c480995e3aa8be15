"""Runs the examples that a contract carries, without Kafka, through the very pipeline that cleans the live stream."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from clearwell.contract.model import CleanSchema, Example, Type
from clearwell.contract.values import canonical
from clearwell.errors import Location, nearest
from clearwell.pipeline.batch import Outcomes, RawBatch
from clearwell.pipeline.compiler import Pipeline

_TOPIC_ID = "A" * 22


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """How one example went; `problems` is empty when it went as the contract says."""

    name: str
    location: Location | None
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was different from what the contract says."""
        return not self.problems


def run_examples(pipeline: Pipeline) -> list[ExampleResult]:
    """Run every example of the pipeline's contract, each on a new state; the outcome is that of its last event."""
    examples = pipeline.contract.examples
    return [ExampleResult(example.name, example.location, tuple(_problems(pipeline, example))) for example in examples]


def _problems(pipeline: Pipeline, example: Example) -> Iterator[str]:
    values = [event.encode() if isinstance(event, str) else msgspec.json.encode(event) for event in example.given]
    last = len(values) - 1
    batch = RawBatch(_TOPIC_ID, 0, range(len(values)), values)
    outcomes = pipeline.process(batch, pipeline.new_state())
    happened = _happened(outcomes, last)
    if example.expect is not None:
        if last in outcomes.offsets:
            clean = msgspec.json.decode(outcomes.values[outcomes.offsets.index(last)])
            yield from _differences(example.expect, clean, pipeline.schema)
        else:
            yield f"it should be kept, but was {happened}"
    elif example.dropped is not None:
        steps = [step for offset, step in outcomes.dropped if offset == last]
        if not any(example.dropped in (step, step.partition(".")[2]) for step in steps):
            yield f"it should be dropped by {example.dropped}, but was {happened}"
    elif example.rejected is not None:
        reasons = [event.reason for event in outcomes.rejected if event.offset == last]
        if not any(example.rejected in reason for reason in reasons):
            yield f'it should be rejected for "{example.rejected}", but was {happened}'


def _happened(outcomes: Outcomes, offset: int) -> str:
    for rejected in outcomes.rejected:
        if rejected.offset == offset:
            return f"rejected by {rejected.step}: {rejected.reason}"
    for dropped, step in outcomes.dropped:
        if dropped == offset:
            return f"dropped by {step}"
    return "kept"


def _differences(expected: Mapping[str, Any], clean: Mapping[str, Any], schema: CleanSchema) -> Iterator[str]:
    known = {field.name: field for field in schema.fields}
    for name, value in expected.items():
        if name not in known:
            yield f'the clean event has no field "{name}".{nearest(name, known)}'.rstrip(".")
            continue
        privacy = known[name].privacy
        if privacy and privacy.kind.traits.keyed and value is not None:
            yield f'"{name}" leaves as {privacy.kind}, which is different under each key: leave it out'
        elif not _same(known[name].clean_type, value, clean.get(name)):
            yield f'"{name}" should be {_shown(value)}, but is {_shown(clean.get(name))}'


def _same(type_: Type, expected: Any, actual: Any) -> bool:
    """Equal as values of the type: 6 is 6.0 in a float64 (to nine digits), "12.5" is "12.50" in a decimal."""
    if expected is None or actual is None:
        return expected is actual
    if type_ is Type.FLOAT64:
        return type(expected) in (int, float) and math.isclose(expected, actual, rel_tol=1e-9)
    try:
        if type_ is Type.DECIMAL:
            return Decimal(canonical(type_, expected)) == Decimal(actual)
        if type_ is Type.TIMESTAMP:
            return bool(canonical(type_, expected) == canonical(type_, actual))
    except ValueError:
        return False
    return type(expected) is type(actual) and bool(expected == actual)


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()

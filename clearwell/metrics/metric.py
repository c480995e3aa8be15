"""What a metric is, and which labels there are: each has bounded values, none is made of events (invariant 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from clearwell.steps.table import STEPS

OTHER = "other"
"""What a label says of a value that is not in its closed set."""

REASONS = ("source", "decode", "validate", "protect", *(step.verb for step in STEPS), OTHER)
"""Why an event was rejected, as a label: the part of the pipeline or the name of the step, never the sentence."""


class MetricKind(StrEnum):
    """Prometheus' types, as far as they are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """`values`: the closed set of them; empty: names that the registry knows, as many as people have registered."""

    why: str
    values: tuple[str, ...] = ()


LABELS: Mapping[str, Label] = {
    "stream": Label("A stream with a published contract."),
    "destination": Label("The `to` of a route; empty where a job has none."),
    "connector": Label("A registered connector."),
    "copy": Label("Which of several members of one consumer group: 1, 2, …"),
    "kind": Label("What a job does.", ("cleaner", "dead_letters", "deliverer", "archiver")),
    "state": Label(
        "How a job or a connector is.",
        ("waiting", "starting", "running", "idle", "paused", "retrying", "failing", "ended", "finished"),
    ),
    "outcome": Label("Where an event ended.", ("kept", "dropped", "rejected")),
    "reason": Label("Where in the pipeline an event was rejected: a part of it, or a step's name.", REASONS),
    "status": Label("The class of an answer.", ("2xx", "4xx", "5xx")),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. `unit` is what a value counts; `why` is the question that the metric answers.

    `bounds`: of a histogram, the upper ends of its buckets.
    """

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    unit: str
    why: str
    bounds: tuple[float, ...] = ()


def reason_of(step: str) -> str:
    """The label of a `clearwell.pipeline.batch.Rejected.step`, such as "decode" or "3.bounds"."""
    _, _, name = step.rpartition(".")
    return name if name in _REASONS else OTHER


_REASONS = frozenset(REASONS)

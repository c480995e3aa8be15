"""The table of metrics keeps Prometheus' conventions, its labels are bounded, and its reference page is current."""

from __future__ import annotations

import re
from pathlib import Path

from clearwell.metrics.metric import LABELS, REASONS, MetricKind, reason_of
from clearwell.metrics.reference import metrics_markdown
from clearwell.metrics.table import METRICS
from clearwell.registry.connectors import State
from clearwell.registry.jobs import JobKind, JobState

ROOT = Path(__file__).parents[3]
RESERVED = {"job", "instance", "le", "quantile", "exported_job"}


def test_names_units_and_labels_are_prometheus_own() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names)) > 20
    for metric in METRICS:
        assert re.fullmatch(r"clearwell(_[a-z]+)+", metric.name), metric
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER), metric
        assert ("seconds" in metric.name.split("_")) == (metric.unit == "seconds"), metric
        assert not re.search(r"milli|micro|minutes|_ms|_mb|percent|rate$", metric.name), metric
        assert bool(metric.bounds) == (metric.kind is MetricKind.HISTOGRAM), metric
        assert list(metric.bounds) == sorted(set(metric.bounds)), metric
        assert metric.why.endswith((".", "?")) and "\n" not in metric.why, metric


def test_every_label_has_a_bounded_set_of_values_and_is_used() -> None:
    used = {label for metric in METRICS for label in metric.labels}
    assert used == LABELS.keys()
    assert not used & RESERVED
    assert {name for name, label in LABELS.items() if not label.values} == {
        "stream",
        "destination",
        "connector",
        "copy",
    }


def test_the_closed_sets_are_those_of_the_registry_and_the_pipeline() -> None:
    assert set(LABELS["kind"].values) == set(JobKind)
    assert set(LABELS["state"].values) == {*JobState, *State}
    assert reason_of("decode") == "decode" and reason_of("3.bounds") == "bounds"
    assert reason_of("3.something else") == reason_of("") == "other"
    assert len(REASONS) == len(set(REASONS))


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()
    assert page == metrics_markdown(), "run python -m clearwell.metrics.reference > docs/reference/metrics.md"

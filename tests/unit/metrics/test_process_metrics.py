"""What a process counts is shown under the table's names; labels outside of their sets are not."""

from __future__ import annotations

from prometheus_client import generate_latest

from clearwell.metrics import table
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.metrics.table import METRICS

CLEANER = ("flights", "cleaner", "", "1")


def page(metrics: ProcessMetrics) -> list[str]:
    return [line for line in generate_latest(metrics.registry).decode().splitlines() if not line.startswith("#")]


def test_every_metric_can_be_written_and_has_its_own_name_on_the_page() -> None:
    metrics = ProcessMetrics()
    for metric in METRICS:
        values = tuple(f"x{number}" for number in range(len(metric.labels)))
        {"counter": metrics.add, "gauge": lambda m, v: metrics.set(m, 1, v)}.get(
            metric.kind, lambda m, v: metrics.observe(m, 1, v)
        )(metric, values)
    shown = {line.partition("{")[0].partition(" ")[0] for line in page(metrics)}
    assert {name for name in shown if not name.endswith(("_bucket", "_sum", "_count"))} == {
        metric.name for metric in METRICS if not metric.bounds
    }
    assert {f"{metric.name}_bucket" for metric in METRICS if metric.bounds} <= shown


def test_what_a_process_does_not_do_is_not_shown_as_zero() -> None:
    metrics = ProcessMetrics()
    assert page(metrics) == []
    metrics.set(table.WORKER_JOBS, 0)
    assert page(metrics) == ["clearwell_worker_jobs 0.0"]


def test_a_value_outside_of_a_closed_set_makes_no_series_of_its_own() -> None:
    metrics = ProcessMetrics()
    metrics.add(table.CLEANER_REJECTED, ("flights", "Jane Doe's number is no number"))
    metrics.add(table.CLEANER_REJECTED, ("flights", "another sentence"))
    lines = [line for line in page(metrics) if "rejected" in line]
    assert lines == ['clearwell_cleaner_rejected_total{reason="other",stream="flights"} 2.0']


def test_what_nobody_knows_is_not_shown() -> None:
    metrics = ProcessMetrics()
    metrics.set(table.JOB_LAG_EVENTS, 7, CLEANER)
    assert any("lag_events{" in line for line in page(metrics))
    metrics.set(table.JOB_LAG_EVENTS, None, CLEANER)
    assert not any("lag_events{" in line for line in page(metrics))


def test_the_process_itself_is_shown_where_asked_for() -> None:
    assert any(line.startswith("process_resident_memory_bytes ") for line in page(ProcessMetrics(with_process=True)))
    assert not any(line.startswith("process_") for line in page(ProcessMetrics()))

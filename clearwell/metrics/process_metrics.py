"""The figures of one process, written by its parts and read by the metrics server."""

from __future__ import annotations

import threading
from typing import TypeAlias, cast

import prometheus_client as prometheus

from clearwell.metrics.metric import LABELS, OTHER, Metric, MetricKind

Family: TypeAlias = prometheus.Counter | prometheus.Gauge | prometheus.Histogram


class ProcessMetrics:
    """The metrics of the table that are used, and with `with_process` what the system says of this process.

    All methods may be called from any thread; they are made for being called once a batch. `values` are those of the
    metric's labels, in order.
    """

    def __init__(self, *, with_process: bool = False) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the page, and our counters begin with the process
        self.registry = prometheus.CollectorRegistry()
        self._families: dict[Metric, Family] = {}
        self._making = threading.Lock()
        self._children: dict[tuple[Metric, tuple[str, ...]], Family] = {}
        if with_process:
            prometheus.ProcessCollector(registry=self.registry)

    def add(self, metric: Metric, values: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Count."""
        cast(prometheus.Counter, self._child(metric, values)).inc(amount)

    def set(self, metric: Metric, value: float | None, values: tuple[str, ...] = ()) -> None:
        """What a gauge stands at; None, which nobody knows, is not shown."""
        if value is None:
            self.remove(metric, values)
        else:
            cast(prometheus.Gauge, self._child(metric, values)).set(value)

    def observe(self, metric: Metric, seconds: float, values: tuple[str, ...] = ()) -> None:
        """One more observation of a histogram."""
        cast(prometheus.Histogram, self._child(metric, values)).observe(seconds)

    def remove(self, metric: Metric, values: tuple[str, ...]) -> None:
        """Show one series no more; harmless where there is none."""
        if self._children.pop((metric, values), None) is not None:
            self._families[metric].remove(*_bounded(metric, values))

    def _child(self, metric: Metric, values: tuple[str, ...]) -> Family:
        known = self._children.get((metric, values))
        if known is None:
            family = self._family(metric)
            child = family.labels(*_bounded(metric, values)) if metric.labels else family
            known = self._children[metric, values] = child
        return known

    def _family(self, metric: Metric) -> Family:
        """Made at first use: a collector has no figures of workers, not even a zero."""
        with self._making:
            if metric not in self._families:
                self._families[metric] = self._make(metric)
            return self._families[metric]

    def _make(self, metric: Metric) -> Family:
        if metric.kind is MetricKind.COUNTER:
            return prometheus.Counter(metric.name, metric.why, metric.labels, registry=self.registry)
        if metric.kind is MetricKind.GAUGE:
            return prometheus.Gauge(metric.name, metric.why, metric.labels, registry=self.registry)
        return prometheus.Histogram(
            metric.name, metric.why, metric.labels, registry=self.registry, buckets=metric.bounds
        )


def _bounded(metric: Metric, values: tuple[str, ...]) -> tuple[str, ...]:
    """What is not in the closed set of its label is "other": the number of series stays bounded (invariant 12)."""
    pairs = zip(metric.labels, values, strict=True)
    return tuple(
        value if not LABELS[label].values or value in LABELS[label].values else OTHER for label, value in pairs
    )

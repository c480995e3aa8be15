"""The table of all metrics: name, type, labels, unit, why. docs/reference/metrics.md is made from it.

Prometheus' conventions: base units (seconds, bytes), the unit in the name, `_total` on what only grows, no rates (they
are a query), and labels from bounded sets alone.
"""

from __future__ import annotations

from clearwell.metrics.metric import Metric, MetricKind

JOB = ("stream", "kind", "destination", "copy")
CONNECTOR = ("connector", "stream")

WORK_SECONDS = (0.002, 0.01, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0)
WAKE_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _counter(name: str, labels: tuple[str, ...], unit: str, why: str) -> Metric:
    return Metric(name, MetricKind.COUNTER, labels, unit, why)


def _gauge(name: str, labels: tuple[str, ...], unit: str, why: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, labels, unit, why)


def _histogram(name: str, labels: tuple[str, ...], why: str, bounds: tuple[float, ...]) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, labels, "seconds", why, bounds)


JOB_STATE = _gauge(
    "clearwell_job_state",
    (*JOB, "state"),
    "",
    "Is the job well? 1 for the state that it is in, no other state is shown.",
)
JOB_EVENTS = _counter(
    "clearwell_job_events_total", JOB, "events", "How many events were read and are done with, durably?"
)
JOB_BATCH_SECONDS = _histogram(
    "clearwell_job_batch_seconds", JOB, "How long from a batch's turn until all that it produced is durable? Its "
    "`_count` is the number of batches.", WORK_SECONDS,
)  # fmt: skip
JOB_LAG_EVENTS = _gauge(
    "clearwell_job_lag_events", JOB, "events", "How many events of its topic are still to be handled?"
)
JOB_LAG_SECONDS = _gauge(
    "clearwell_job_lag_seconds", JOB, "seconds", "How fresh is what it has made? Since when, at most, it is behind; 0 "
    "when all is read.",
)  # fmt: skip
JOB_BUSY_SECONDS = _counter(
    "clearwell_job_busy_seconds_total", JOB, "seconds", "How much of a core do its threads take? Processor time."
)
JOB_RETRIES = _counter(
    "clearwell_job_retries_total", JOB, "tries", "Is what it needs away or not well, and tried again?"
)
JOB_FAILURES = _counter("clearwell_job_failures_total", JOB, "failures", "Did it end by an error, unacknowledged?")
JOB_RESTARTS = _counter(
    "clearwell_job_restarts_total", JOB, "starts", "How often was it started again after a failure?"
)

CLEANER_EVENTS = _counter(
    "clearwell_cleaner_events_total", ("stream", "outcome"), "events", "Where did the events that went in end?"
)
CLEANER_REJECTED = _counter(
    "clearwell_cleaner_rejected_total",
    ("stream", "reason"),
    "events",
    "What is wrong with those that became dead letters?",
)
DESTINATION_ROWS = _counter(
    "clearwell_destination_rows_total",
    ("stream", "destination"),
    "rows",
    "How many rows were handed over and are durable?",
)
DESTINATION_WRITE_SECONDS = _histogram(
    "clearwell_destination_write_seconds", ("stream", "destination"), "How long does the store take for one write?",
    WORK_SECONDS,
)  # fmt: skip

WORKER_JOBS = _gauge(
    "clearwell_worker_jobs", (), "jobs", "How many jobs does this worker hold, those that sleep among them?"
)
WORKER_SLEEPING_JOBS = _gauge(
    "clearwell_worker_sleeping_jobs", (), "jobs", "How many of them sleep, since there is no news?"
)
WORKER_WAKE_SECONDS = _histogram(
    "clearwell_worker_wake_seconds",
    (),
    "How long from the news of events until a job that slept reads them?",
    WAKE_SECONDS,
)
LEASE_RENEWAL_FAILURES = _counter(
    "clearwell_lease_renewal_failures_total", (), "failures", "Could this process not renew its leases in time?"
)
REGISTRY_AWAY_SECONDS = _counter(
    "clearwell_registry_away_seconds_total", (), "seconds", "For how long did the registry not answer this process?"
)

CONNECTOR_STATE = _gauge(
    "clearwell_connector_state", (*CONNECTOR, "state"), "", "Is the connector well? 1 for the state that it is in here."
)
CONNECTOR_EVENTS = _counter(
    "clearwell_connector_events_total",
    CONNECTOR,
    "events",
    "How many events did Kafka acknowledge? The rate is a query.",
)
CONNECTOR_REFUSED = _counter(
    "clearwell_connector_refused_total", CONNECTOR, "events", "How many of them could the source make no event of?"
)
CONNECTOR_LAG_EVENTS = _gauge(
    "clearwell_connector_lag_events",
    CONNECTOR,
    "events",
    "How much is still to be read? Only where the source can tell.",
)
CONNECTOR_LAG_SECONDS = _gauge(
    "clearwell_connector_lag_seconds", CONNECTOR, "seconds", "Since when is it behind? Only where the source can tell."
)
CONNECTOR_ERRORS = _counter(
    "clearwell_connector_errors_total", CONNECTOR, "failures", "How often did a read end by an error?"
)
PUSH_REQUESTS = _counter(
    "clearwell_push_requests_total", ("connector", "status"), "requests", "How were senders answered?"
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""In the order of the reference page."""

"""Workers and collectors as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from clearwell.cli.output import table
from clearwell.cli.results import format_time
from clearwell.control.workers import WorkerStatus


def worker_table(workers: Sequence[WorkerStatus]) -> Table:
    """A line a worker or collector; memory is unknown of one that does not tell."""
    heads = ("worker", "kind", "state", "runs", "busy", "memory", "since", "metrics")
    return table(heads, [_row(worker) for worker in workers])


def _row(worker: WorkerStatus) -> tuple[object, ...]:
    return (
        worker.name,
        worker.kind,
        worker.state,
        worker.held,
        f"{worker.busy:.0%}",
        f"{worker.rss_mb:,.0f} MB" if worker.rss_mb else "?",
        format_time(worker.since),
        worker.endpoint,
    )

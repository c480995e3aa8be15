"""Batches that wait for the store are joined, partition by partition: one transaction for all that came meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

from clearwell.destinations.protocol import CleanBatch
from clearwell.worker.bisection import Bisection, OnRefused
from clearwell.worker.destination_thread import DestinationThread

MOST_ROWS = 10_000
"""Batches are joined up to this many rows: a larger flush is hardly faster, and costs memory."""


@dataclass(slots=True)
class _Waiting:
    """A batch whose write has not begun; then, in `parts`, what is left of it to write."""

    batch: CleanBatch
    parts: deque[CleanBatch] | None = None
    written: asyncio.Future[None] = field(init=False)


class Writer:
    """Queues batches for a store in order; while one is written, what comes for a partition becomes one more batch."""

    def __init__(self, store: DestinationThread, on_refused: OnRefused) -> None:
        """`on_refused` is what becomes of a row that the store refuses."""
        self._store = store
        self._isolation = Bisection(store.destination, on_refused)
        self._lock = threading.Lock()  # the store's thread takes what the event loop joins
        self._waiting: dict[int, _Waiting] = {}

    def write(self, batch: CleanBatch) -> asyncio.Future[None]:
        """Completes when `batch` is durable; raises what the store raised, other than Retryable."""
        with self._lock:
            waiting = self._waiting.get(batch.partition)
            if waiting is not None and _fit(waiting.batch, batch):
                waiting.batch = join(waiting.batch, batch)
                return waiting.written
            waiting = self._waiting[batch.partition] = _Waiting(batch)
        waiting.written = self._store.call(lambda: self._write(waiting))
        return waiting.written

    def _write(self, waiting: _Waiting) -> None:
        """On the store's thread; called again after a Retryable, with what is left."""
        if waiting.parts is None:
            with self._lock:
                if self._waiting.get(waiting.batch.partition) is waiting:
                    del self._waiting[waiting.batch.partition]
            waiting.parts = deque([waiting.batch])
        rows, began = sum(len(part.rows) for part in waiting.parts), time.monotonic()
        self._isolation.write(waiting.parts)
        if self._store.meter is not None:
            self._store.meter.written(rows, time.monotonic() - began)


def _fit(first: CleanBatch, then: CleanBatch) -> bool:
    rows = len(first.rows) + len(then.rows)
    return (first.topic_id, first.epoch) == (then.topic_id, then.epoch) and rows <= MOST_ROWS


def join(first: CleanBatch, then: CleanBatch) -> CleanBatch:
    """Two consecutive batches of one partition as one."""
    return replace(
        then,
        rows=[*first.rows, *then.rows],
        values=[*first.values, *then.values],
        offsets=[*first.offsets, *then.offsets],
        raw_topics=[*first.raw_topics, *then.raw_topics],
        raw_offsets=[*first.raw_offsets, *then.raw_offsets],
        unrouted=[*first.unrouted, *then.unrouted],
        repeats=[*first.repeats, *then.repeats],
        refused=[*first.refused, *then.refused],
    )

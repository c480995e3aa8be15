"""A destination as the event loop sees it: used by one thread, which waits for it where it is away."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from clearwell.backoff import retry_until_available
from clearwell.destinations.protocol import Destination
from clearwell.errors import ClearwellError, Fatal, Retryable
from clearwell.worker.job_meters import JobMeter

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class HealthReport(Protocol):
    """Hears how a destination is; from any thread, as often as one likes."""

    def well(self) -> None:
        """It did what it was asked."""

    def trouble(self, error: ClearwellError, wait: float) -> None:
        """It is away or not well, and is tried again after `wait` seconds."""


class DestinationThread:
    """A destination's own thread: one call at a time, in order, retried in place while the world is bad."""

    def __init__(
        self, destination: Destination, health: HealthReport | None = None, meter: JobMeter | None = None
    ) -> None:
        """`health` hears of each trouble and of its end; None: nobody does. `meter` counts what it did."""
        self.destination = destination
        self._health = health
        self.meter = meter
        begin = None if meter is None else meter.watch_thread
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=destination.kind, initializer=begin)
        self._closing = threading.Event()
        self._failure: Exception | None = None

    def call(self, action: Callable[[], Result]) -> asyncio.Future[Result]:
        """Queue `action`; the future holds its result, or what it raised other than Retryable: then no more is done."""
        return asyncio.get_running_loop().run_in_executor(self._thread, self._insist, action)

    def close(self) -> None:
        """Stop retrying and let go of the store."""
        self._closing.set()
        self._failure = self._failure or Fatal("The destination was closed.")  # what is queued is not written
        self._thread.shutdown()
        self.destination.close()

    def _insist(self, action: Callable[[], Result]) -> Result:
        if self._failure is not None:  # what was queued behind it would move the position past it (invariant 2)
            raise self._failure
        try:
            return self._retry(action)
        except Exception as error:
            self._failure = error
            raise

    def _retry(self, action: Callable[[], Result]) -> Result:
        """Later calls wait behind this one, so order is kept."""
        result = retry_until_available(action, report=self._report, pause=self._closing.wait)
        if self._health is not None:
            self._health.well()
        return result

    def _report(self, error: Retryable, wait: float) -> None:
        if self._health is not None:
            self._health.trouble(error, wait)
        if self.meter is not None:
            self.meter.retried()
        log.warning("%s: %s Trying again in %.1f s.", self.destination.kind, error, wait)

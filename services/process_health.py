"""Whether a collector or a worker can do its work, for `/healthz`, and what it takes of its host, for the registry."""

from __future__ import annotations

import time
from collections.abc import Callable

from clearwell.metrics import table
from clearwell.metrics.process_load import ProcessLoad
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.registry.leases import Load


class ProcessHealth:
    """Hears of each look at the registry."""

    def __init__(
        self, what: str, metrics: ProcessMetrics, lease_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what`: "collector" or "worker". `endpoint`: where metrics and health are served; "" for nowhere."""
        self.endpoint = ""
        self._what = what
        self._metrics = metrics
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._process = ProcessLoad()
        self._looked = self._answered = clock()
        self._draining = False
        for metric in (table.LEASE_RENEWAL_FAILURES, table.REGISTRY_AWAY_SECONDS):
            metrics.add(metric, amount=0)  # shown from the start: an alarm sees the first one grow

    def answered(self, draining: bool, lost: int) -> None:
        """The registry was there: whether this process is draining, and how many leases it has lost."""
        self._looked = self._answered = self._clock()
        self._draining = draining
        if lost:
            self._metrics.add(table.LEASE_RENEWAL_FAILURES, amount=lost)

    def missed(self, leases: int) -> None:
        """It was not, and so many leases could not be renewed."""
        now = self._clock()
        self._metrics.add(table.REGISTRY_AWAY_SECONDS, amount=now - self._looked)
        self._metrics.add(table.LEASE_RENEWAL_FAILURES, amount=leases)
        self._looked = now

    def load(self) -> Load:
        """What the registry is told of this process."""
        busy, rss_mb = self._process.read()
        return Load(round(busy, 4), round(rss_mb, 1), self.endpoint)

    def problems(self) -> list[str]:
        """Sentences on what is wrong; none while all is well. From any thread."""
        silent = self._clock() - self._answered
        problems = []
        if silent > self._lease_seconds:
            problems.append(f"The registry has not answered for {silent:.0f} s: leases are not renewed.")
        if self._draining:
            problems.append(f"The {self._what} is draining: it gives away what it runs and takes no more.")
        return problems

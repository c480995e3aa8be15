"""How a deliverer is doing, reported to the registry, and whether it is to pause, read from there.

On a thread of its own: delivery never waits for the registry, and goes on as before while that is away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clearwell.errors import ClearwellError
from clearwell.registry import Registry, deliveries, jobs
from clearwell.registry.deliveries import Delivery
from clearwell.registry.jobs import JobHealth, JobKind, JobReport, JobSpec, JobState

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at the registry: a pause is seen within two."""

REPORT_WITHIN = 3.0
"""Seconds that a process which ends may take to say why."""

WELL = JobHealth(JobState.RUNNING)


class Health:
    """`well` and `trouble` may be called from any thread, as often as one likes."""

    def __init__(self, registry: Registry, delivery: Delivery) -> None:
        self._registry = registry
        self._delivery = delivery
        self._spec = JobSpec(
            delivery.group,
            delivery.group,
            JobKind.DELIVERER,
            delivery.stream,
            delivery.version,
            0,
            delivery.destination,
        )
        self._well = WELL
        self._health: JobHealth | None = None  # nothing to tell before the store was first asked
        self._reported: JobHealth | None = None
        self._paused = False
        self._on_pause: Callable[[bool], None] = lambda _: None
        self._away = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def paused(self) -> bool:
        """Whether a person wants this deliverer paused, as far as the registry could be asked."""
        return self._paused

    def begin(self) -> None:
        """Ask the registry for the first time, so that one that is paused never reads, and go on on the thread."""
        self._look()
        self._thread.start()

    def on_pause(self, hear: Callable[[bool], None]) -> None:
        """Call `hear` from the thread with each change of `paused`, and now with what it is."""
        self._on_pause = hear
        hear(self._paused)

    def well(self) -> None:
        """The store did what it was asked."""
        self._health = self._well

    def lost(self, text: str) -> None:
        """Events were gone before they were delivered: said from now on, until the process ends."""
        self._well = JobHealth(JobState.RUNNING, text, datetime.now(UTC))

    def trouble(self, error: ClearwellError, wait: float) -> None:
        """The store is away or not well, and is tried again after `wait` seconds."""
        now = datetime.now(UTC)
        self._health = JobHealth(JobState.RETRYING, str(error), now, now + timedelta(seconds=wait))

    def report_failure(self, error: BaseException) -> None:
        """The process ends by `error`: tell it, if the registry answers at once. Data stays unsaid (invariant 9)."""
        text = str(error) if isinstance(error, ClearwellError) else f"ended by {type(error).__name__}; see its log"
        self._closing.set()
        self._health = JobHealth(JobState.FAILING, text, datetime.now(UTC))
        speaking = threading.Thread(target=self._look, name="report failure", daemon=True)
        speaking.start()
        speaking.join(REPORT_WITHIN)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_EVERY):
            self._look()

    def _look(self) -> None:
        try:
            paused = self._exchange()
        except ClearwellError as error:
            if not self._away:
                log.warning("Health is not told, and no pause is seen, until the registry is back. %s", error)
            self._away = True
            return
        self._away = False
        if paused != self._paused:
            self._paused = paused
            log.info("paused" if paused else "resumed")
            self._on_pause(paused)

    def _exchange(self) -> bool:
        """Tell what has changed, and hear whether to pause."""
        health = self._health
        if health is not None and health.state is JobState.RUNNING and self._paused:
            health = replace(health, state=JobState.PAUSED)
        with self._registry.session() as session:
            paused = deliveries.is_paused(session, self._delivery.group)
            if health is not None and (paused is None or health != self._reported):
                jobs.ensure(session, self._spec)
                jobs.report(session, [JobReport(self._spec, health)])
        self._reported = health
        return bool(paused)

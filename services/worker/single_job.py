"""One job alone in this process, without a lease: it runs until it is told to stop, and ends the process if it fails.

A worker starts it so for a job that holds up its neighbours; a person to look at one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from clearwell.backoff import retry_until_available_async
from clearwell.errors import ClearwellError
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.process_end import leave
from clearwell.registry import Registry, jobs
from clearwell.registry.jobs import JobHealth, JobReport, JobSpec, JobState, WantedState
from clearwell.worker.destination_health import DestinationHealth
from clearwell.worker.job_failure import describe_failure, exit_code
from clearwell.worker.job_meters import JobLabels, JobMeter
from clearwell.worker.job_thread import JobThread
from services.worker.hosted_job import failed, stopped
from services.worker.wiring import Wiring

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOK_SECONDS = 1.0
"""How often the registry is asked whether the job is paused, and told how it is."""

ENDS_WITHIN = 25.0
"""Seconds that its orderly end may take; `process_end` ends the process where a stop takes longer."""

REPORT_WITHIN = 3.0
"""Seconds that a process which ends may take to say why."""


class SingleJob:
    """Runs a registered job."""

    def __init__(self, name: str, registry: Registry, wiring: Wiring, instance: str | None) -> None:
        """`instance`: see `member_name`."""
        self._name = name
        self._registry = registry
        self._wiring = wiring
        self._instance = instance
        self._reported: JobHealth | None = None
        self._meter = JobMeter(ProcessMetrics(), JobLabels("", ""))
        self._is_away = False

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set; returns 0. A failure ends the process at once, with its exit code."""
        first = await _or_stop(stop, retry_until_available_async(lambda: asyncio.to_thread(self._look_up)))
        if first is None:
            return 0
        spec, is_paused = first
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def notice() -> None:
            loop.call_soon_threadsafe(changed.set)

        while not stop.is_set():
            health, paused_now = DestinationHealth(), is_paused
            thread = None if is_paused else self._start(spec, health, notice)
            while not stop.is_set() and not (thread is not None and thread.has_ended):
                await _first_of(LOOK_SECONDS, stop, changed)
                changed.clear()
                if thread is not None and thread.failure is not None:
                    break
                spec, paused_now = await asyncio.to_thread(self._exchange, spec, self._health(thread, health))
                if paused_now != is_paused:
                    break
            if thread is not None:
                await self._end(spec, thread)
            if paused_now != is_paused:
                is_paused = paused_now
                log.info("paused" if is_paused else "resumed")
        return 0

    def _start(self, spec: JobSpec, health: DestinationHealth, on_change: Callable[[], None]) -> JobThread:
        return JobThread(spec.name, self._wiring.job(spec, health, self._meter), self._instance, on_change)

    async def _end(self, spec: JobSpec, thread: JobThread) -> None:
        thread.stop()
        await asyncio.to_thread(thread.wait, ENDS_WITHIN)
        if thread.failure is None:
            return
        text = describe_failure(thread.failure)
        log.error("%s", text)
        report = asyncio.to_thread(self._report, spec, failed(thread.failure, 0.0))
        await asyncio.wait((asyncio.ensure_future(report),), timeout=REPORT_WITHIN)
        leave(exit_code(thread.failure))

    @staticmethod
    def _health(thread: JobThread | None, health: DestinationHealth) -> JobHealth:
        if thread is None:
            return stopped(health.now, JobState.PAUSED)
        return health.now if thread.is_started else JobHealth(JobState.STARTING)

    def _look_up(self) -> tuple[JobSpec, bool]:
        with self._registry.session() as session:
            job = jobs.get(session, self._name)
        return job.spec, job.wanted is WantedState.PAUSED

    def _exchange(self, spec: JobSpec, health: JobHealth) -> tuple[JobSpec, bool]:
        """Tell how the job is, and hear whether it is to pause; a registry that is away holds nothing up."""
        try:
            if health != self._reported:
                self._report(spec, health)
                self._reported = health
            known = self._look_up()
        except ClearwellError as error:
            if not self._is_away:
                log.warning("Nothing is reported, and no pause is seen, until the registry is back. %s", error)
            self._is_away = True
            return spec, health.state is JobState.PAUSED
        self._is_away = False
        return known

    def _report(self, spec: JobSpec, health: JobHealth) -> None:
        with self._registry.session() as session:
            jobs.report(session, [JobReport(spec, health)])


async def _or_stop(stop: asyncio.Event, asking: Coroutine[Any, Any, Result]) -> Result | None:
    """What `asking` returns or raises; None where `stop` was set before."""
    answer, stopping = asyncio.ensure_future(asking), asyncio.ensure_future(stop.wait())
    await asyncio.wait((answer, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if answer.done():
        return answer.result()
    answer.cancel()
    return None


async def _first_of(seconds: float, *events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()

"""Keeps one connector running: again after what may pass, not again after what someone must mend, never stuck."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from clearwell.backoff import delays
from clearwell.collector.watch import Watch
from clearwell.errors import ClearwellError, Fenced, Retryable
from clearwell.registry import Connector, Registry, State, connectors, positions
from clearwell.source import Lag
from services.collector.connector_meters import ConnectorMeter
from services.collector.file_limit import out_of_files
from services.collector.threads import in_threads_of
from services.leases import HeldLease

log = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0

LOOK_SECONDS = 0.25
"""How often a run is looked at: is it stuck, does its lease end."""

STOP_SECONDS = 5.0
"""How long a run that was told to stop may take before it is broken off."""

CANCEL_SECONDS = 2.0
"""How long a run that is broken off may take to end; then it is left alone, and can send and save nothing."""

T = TypeVar("T")


class Runnable(Protocol):
    """One try at a connector: `services.collector.connector_run.Run`, or `push_run.PushRun`."""

    progressed: bool
    watch: Watch

    def lag(self) -> Lag:
        """What is still to be read."""

    async def go(self, stop: asyncio.Event) -> bool:
        """Work until all is done (True) or `stop` is set (False)."""

    def break_off(self) -> None:
        """What is still going on has no effect any more."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is to run: `begin` makes the next run; without `lease` it needs no lease."""

    connector: Connector
    begin: Callable[[], Runnable]
    lease: HeldLease | None
    silent_seconds: float
    meter: ConnectorMeter | None = None


class StatusReporter:
    """Tells the registry how a connector is doing, in the collector's own threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, change: Callable[[Session], None]) -> None:
        """When the registry is down the next poll tells what matters again."""
        try:
            await self.ask(change)
        except ClearwellError as error:
            log.warning("%s", error)

    async def ask(self, question: Callable[[Session], T]) -> T:
        """Run `question` in a transaction; raises as `Registry.session` does."""

        def ask() -> T:
            with self._registry.session() as session:
                return question(session)

        return await asyncio.to_thread(ask)


class RunningConnector:
    """Runs one connector again and again until it is exhausted, must be mended, or is told to stop."""

    def __init__(self, assignment: Assignment, report: StatusReporter) -> None:
        self.connector = assignment.connector
        self.stop = asyncio.Event()
        self.hung: set[asyncio.Task[bool]] = set()
        self._assignment = assignment
        self._report = report
        self._run: Runnable | None = None

    def lag(self) -> Lag:
        """What is still to be read, by the run that goes on."""
        return Lag() if self._run is None else self._run.lag()

    async def run(self) -> None:
        """Returns when it is over; raises nothing on purpose."""
        waits = delays(FIRST_DELAY, LONGEST_DELAY)
        name = self.connector.name
        while not (self.stop.is_set() or self._lease_is_over()):
            run = self._run = self._assignment.begin()
            try:
                all_read = await self._attend(run)
                log.info("connector %s: %s", name, "all read" if all_read else "stopped")
                if all_read and not self._lease_is_over():
                    await self._report(self._finish)
                return
            except (Retryable, Fenced) as error:
                if run.progressed:
                    waits = delays(FIRST_DELAY, LONGEST_DELAY)
                if not self._lease_is_over():
                    await self._wait_after(str(error), next(waits))
            except Exception as error:  # whatever a source raises ends this connector alone
                if (lack := out_of_files(error)) is None:
                    await self._give_up(error)
                    return
                await self._wait_after(lack, next(waits))
        if self._lease_is_over():
            log.warning("connector %s: the lease could not be kept; whoever takes it reads on", name)

    async def _attend(self, run: Runnable) -> bool:
        """Run it, and break it off when it is stuck, does not stop, or its lease ends."""
        task = in_threads_of(self.connector.name, run.go(self.stop))
        told_to_stop: float | None = None
        now = asyncio.get_running_loop().time
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=LOOK_SECONDS)
                if done:
                    return task.result()
                if self.stop.is_set() and told_to_stop is None:
                    told_to_stop = now()
                if self._lease_is_over():
                    why = "The lease could not be renewed in time"
                elif told_to_stop is not None:
                    if now() - told_to_stop < STOP_SECONDS:
                        continue
                    why = f"The source did not stop within {STOP_SECONDS:.0f} s"
                elif (stuck := run.watch.stuck(self._assignment.silent_seconds)) is not None:
                    why = stuck
                else:
                    continue
                raise Retryable(f"{why}.{await self._break_off(run, task)}")
        finally:
            if not task.done():
                run.break_off()
                task.cancel()

    async def _break_off(self, run: Runnable, task: asyncio.Task[bool]) -> str:
        """End a run by force; what to say of one that does not end."""
        run.break_off()
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
        if task.done():
            if not task.cancelled():
                task.exception()  # looked at: it was broken off, whatever it says
            return ""
        self.hung.add(task)
        task.add_done_callback(self.hung.discard)
        log.error("connector %s: a run of it can't be ended; it is left alone", self.connector.name)
        return " It could not be ended: restart the collector when this does not pass."

    def _finish(self, session: Session) -> None:
        """All is read; where that is fewer than the source counted, it is said (invariant 11)."""
        name = self.connector.name
        difference = positions.load(session, name).difference()
        if difference is not None:
            log.error("connector %s: %s", name, difference)
        connectors.note_end(session, name, State.FINISHED, difference)

    def _lease_is_over(self) -> bool:
        return self._assignment.lease is not None and self._assignment.lease.over()

    async def _wait_after(self, error: str, seconds: float) -> None:
        self._count_failure()
        name = self.connector.name
        log.warning("connector %s: %s (next try in %.1f s)", name, error, seconds)
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        reporting = asyncio.create_task(self._report(lambda session: connectors.note_trouble(session, name, error, at)))
        await happened(self.stop, seconds)
        await reporting

    def _count_failure(self) -> None:
        self._run = None
        if self._assignment.meter is not None:
            self._assignment.meter.failed()

    async def _give_up(self, error: Exception) -> None:
        self._count_failure()
        name = self.connector.name
        said = str(error) if isinstance(error, ClearwellError) else as_bug(error)
        log.error("connector %s is failing: %s", name, said)
        await self._report(lambda session: connectors.note_end(session, name, State.FAILING, said))


async def happened(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event at most `seconds`; whether it is set."""
    with suppress(TimeoutError):  # `wait_for` of Python 3.11 may swallow a cancellation
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def as_bug(error: BaseException) -> str:
    """Of an error nobody foresaw only type and places are told: its text may quote data (invariant 9)."""
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    log.error("unforeseen %s (text withheld, it may quote data), raised at:\n%s", type(error).__name__, frames)
    return f"The source has a bug ({type(error).__name__}): see the collector's log, then resume the connector."

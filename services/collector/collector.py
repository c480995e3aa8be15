"""Runs every registered connector, each in a task of its own: one bad connector never stops another."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy.orm import Session

from clearwell.backoff import delays
from clearwell.errors import ClearwellError, ConfigError, Fatal, Fenced, Retryable
from clearwell.registry import Connector, Registry, State, connectors
from clearwell.settings import Settings
from services.collector.run import Run

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
GOODBYE_SECONDS = 8.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Running:
    """A connector being read."""

    connector: Connector
    stop: asyncio.Event
    task: asyncio.Task[None]


class Collector:
    """Keeps the registry's running connectors running."""

    def __init__(self, registry: Registry, where: Settings, only: str | None = None) -> None:
        """`only` limits it to the connector of that name."""
        self._registry = registry
        self._where = where
        self._only = only
        self._running: dict[str, Running] = {}

    async def run(self, stop: asyncio.Event, *, once: bool = False) -> int:
        """Go on until `stop` is set; with `once` until no connector is running. Returns an exit code.

        That is 0, or with `once` 2 when a connector is failing, and 70 when one did not stop in time.
        """
        waits = delays(FIRST_DELAY, LONGEST_DELAY)
        pause, code = 0.0, 0
        while not await happened(stop, pause):
            try:
                found = await self._wanted()
            except Retryable as error:
                log.warning("%s", error)
                pause = next(waits)
                continue
            self._adjust(found)
            if once and not self._running and not any(one.state is State.RUNNING for one in found):
                code = ConfigError.exit_code if any(one.state is State.FAILING for one in found) else 0
                break
            waits, pause = delays(FIRST_DELAY, LONGEST_DELAY), POLL_SECONDS if not once else 0.1
        return await self._goodbye() or code

    async def _wanted(self) -> list[Connector]:
        if self._only is None:
            return await self._ask(connectors.list_connectors)
        name = self._only
        return [await self._ask(lambda session: connectors.get(session, name))]

    def _adjust(self, found: list[Connector]) -> None:
        """Start what should run, tell to stop what should not or has changed; the next poll starts it anew."""
        for name in [name for name, running in self._running.items() if running.task.done()]:
            task = self._running.pop(name).task
            if (error := task.exception()) is not None:
                log.error("connector %s: %s", name, _as_bug(error))
        wanted = {one.name: one for one in found if one.state is State.RUNNING}
        for name, running in self._running.items():
            new = wanted.get(name)
            if new is None or _differ(new, running.connector):
                running.stop.set()
        for name, connector in wanted.items():
            if name not in self._running:
                stop = asyncio.Event()
                task = asyncio.create_task(self._keep(connector, stop), name=f"connector {name}")
                self._running[name] = Running(connector, stop, task)

    async def _keep(self, connector: Connector, stop: asyncio.Event) -> None:
        """Run a connector again and again until it is exhausted, must be mended, or is told to stop."""
        waits = delays(FIRST_DELAY, LONGEST_DELAY)
        while not stop.is_set():
            run = Run(connector, self._registry, self._where)
            try:
                if not await run.go(stop):
                    log.info("connector %s: stopped", connector.name)
                else:
                    log.info("connector %s: all read", connector.name)
                    await self._note(lambda s: connectors.note_end(s, connector.name, State.FINISHED))
                return
            except (Retryable, Fenced) as error:
                if run.progressed:
                    waits = delays(FIRST_DELAY, LONGEST_DELAY)
                await self._wait_after(connector.name, str(error), next(waits), stop)
            except Exception as error:  # whatever a source raises ends this connector alone
                await self._give_up(connector.name, error)
                return

    async def _wait_after(self, name: str, error: str, seconds: float, stop: asyncio.Event) -> None:
        log.warning("connector %s: %s (next try in %.1f s)", name, error, seconds)
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        noting = asyncio.create_task(self._note(lambda s: connectors.note_trouble(s, name, error, at)))
        await happened(stop, seconds)
        await noting

    async def _give_up(self, name: str, error: Exception) -> None:
        said = str(error) if isinstance(error, ClearwellError) else _as_bug(error)
        log.error("connector %s is failing: %s", name, said)
        await self._note(lambda session: connectors.note_end(session, name, State.FAILING, said))

    async def _note(self, change: Callable[[Session], None]) -> None:
        """Tell the registry; when it is down the next poll tells what matters again."""
        try:
            await self._ask(change)
        except ClearwellError as error:
            log.warning("%s", error)

    async def _ask(self, question: Callable[[Session], T]) -> T:
        def ask() -> T:
            with self._registry.session() as session:
                return question(session)

        return await asyncio.to_thread(ask)

    async def _goodbye(self) -> int:
        """Stop every connector after what is in flight was acknowledged."""
        for running in self._running.values():
            running.stop.set()
        tasks = [running.task for running in self._running.values()]
        if not tasks:
            return 0
        _, late = await asyncio.wait(tasks, timeout=GOODBYE_SECONDS)
        for task in late:
            log.error("%s did not stop within %.0f s", task.get_name(), GOODBYE_SECONDS)
        return Fatal.exit_code if late else 0


async def happened(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event at most `seconds`; whether it is set."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return event.is_set()
    return True


def _differ(new: Connector, running: Connector) -> bool:
    """Whether the read of a connector must end and begin anew, as it is registered now."""
    return (new.config, new.limits, new.restarts, new.created_at) != (
        running.config,
        running.limits,
        running.restarts,
        running.created_at,
    )


def _as_bug(error: BaseException) -> str:
    """Of an error nobody foresaw only type and places are told: its text may quote data (invariant 9)."""
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    log.error("unforeseen %s (text withheld, it may quote data), raised at:\n%s", type(error).__name__, frames)
    return f"The source has a bug ({type(error).__name__}): see the collector's log, then resume the connector."

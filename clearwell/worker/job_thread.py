"""A job in a thread of its own: what blocks or fails there ends, or holds up, nothing else of the process.

Each has its own event loop, so that a batch that takes long does not keep its neighbours waiting, and a job that fails
is broken off as a whole: its loop stops, and nothing that was still to be sent or acknowledged by it ever is
(invariant 2).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from clearwell.worker.job_run import JobRun, MakeJob

log = logging.getLogger(__name__)

TASKS_END_WITHIN = 2.0
"""Seconds that what is left in a loop may take to end when it is cancelled."""


def _note_type(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a task that was broken off raised, nobody waits for; asyncio would log its text, which may quote data."""
    error = context.get("exception")
    log.debug("left behind: %s", type(error).__name__ if error is not None else context.get("message"))


class JobThread:
    """Starts at once. All methods may be called from any thread, and return at once."""

    def __init__(self, name: str, make: MakeJob, instance: str | None, on_change: Callable[[], None]) -> None:
        """`on_change` is called from the thread when it has started to take batches, and when it has ended."""
        self.name = name
        self.failure: BaseException | None = None
        self.is_started = False
        self._on_change = on_change
        self._run = JobRun(make, instance)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._is_told_to_stop = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether it has stopped, or failed by `failure`, and holds nothing any more."""
        return self._ended.is_set()

    def positions(self) -> Mapping[int, int] | None:
        """See `JobRun.positions`."""
        return self._run.positions() if self.is_started and not self.has_ended else None

    def held_positions(self) -> Mapping[int, int] | None:
        """See `JobRun.held_positions`."""
        return self._run.held_positions() if self.is_started and not self.has_ended else None

    def stuck(self, seconds: float) -> str | None:
        """See `JobRun.stuck`."""
        return None if self.has_ended else self._run.stuck(seconds)

    def stop(self) -> None:
        """Ask it to stop in an orderly way."""
        self._is_told_to_stop = True
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        return self._ended.wait(seconds)

    def _serve(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(_note_type)
        self._loop = loop
        try:
            loop.run_until_complete(self._work())
        except BaseException as error:
            self.failure = error
        finally:
            self._let_go(loop)
            self._ended.set()
            self._on_change()

    async def _work(self) -> None:
        self._stop = asyncio.Event()
        if self._is_told_to_stop:
            return
        await self._run.run(self._stop, self._begin)

    def _begin(self) -> None:
        self.is_started = True
        self._on_change()

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what is left in the loop; a task that does not end is left where it is, and never goes on."""
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks, timeout=TASKS_END_WITHIN))
            executor = getattr(loop, "_default_executor", None)
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)  # `Runner` would wait for its threads
            loop.close()
        except Exception as error:
            log.warning("%s: its event loop was left open (%s)", self.name, type(error).__name__)

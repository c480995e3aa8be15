"""Keeps one process running: starts it, waits until it answers, starts it again with backoff when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clearwell.backoff import delays
from clearwell.errors import Fatal
from clearwell.local import child, environment
from clearwell.local.logs import append, last_message, roll, size
from clearwell.local.process import Process
from clearwell.local.state import LOGS, READY, RESTARTING, STARTING, STOPPED, STUCK, Identity, ProcessState
from clearwell.settings import SERVERS
from clearwell.worker.batch_watch import LOOK_EVERY, TOLD_AFTER, stuck_in
from clearwell.worker.batch_watch import VARIABLE as BATCH_NOTES

log = logging.getLogger(__name__)

READY_WITHIN = 120.0
"""Seconds a process may take until it answers; then it is ended and started again."""

ENDS_WITHIN = 15.0
"""Seconds a process may take to end in an orderly way; then it is killed."""

PRESENCE_EVERY, ABSENT_AT_MOST = 15.0, 60.0
"""Seconds between two looks whether a process takes part, and after how many of absence it is started again."""

HEALTHY_AFTER = 30.0
"""Seconds of running after which the next failure counts as the first one again."""


class SupervisedProcess:
    """One process and its history. Lives in one event loop, whose thread starts the process (see `child.bind_to`)."""

    def __init__(self, process: Process, home: Path, changed: Callable[[], None]) -> None:
        self.process = process
        self.state = ProcessState(process.name, endpoint=process.endpoint, log=str(home / LOGS / f"{process.name}.log"))
        self.first_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.look_every, self.absent_at_most = PRESENCE_EVERY, ABSENT_AT_MOST
        self._changed = changed
        self._log_file = Path(self.state.log)
        self._log_began = 0
        self._stopping = asyncio.Event()
        self._unready: BaseException | None = None

    async def run(self) -> None:
        """Keep the process running until `stop` is set. `first_start` tells how its first start went."""
        waits = delays(0.3, 30.0)
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                problem = await self._live()
            except OSError as error:  # no process id, no memory, no log file: it may pass
                problem = f"could not be started: {error.strerror}"
            if self._stopping.is_set():
                break
            self._report_first_start(problem)
            if time.monotonic() - began > HEALTHY_AFTER:
                waits = delays(0.3, 30.0)
            wait = next(waits)
            log.warning("%s %s; starting it again in %.1f s", self.process.name, problem, wait)
            self.state.restarts += 1
            self._set_state(RESTARTING, problem)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        self._report_first_start("was stopped")
        self._set_state(STOPPED)

    def stop(self) -> None:
        """Ask `run` to end the process and return."""
        self._stopping.set()

    async def _live(self) -> str:
        """Start the process and wait until it has ended, for whatever reason; return that reason."""
        roll(self._log_file)
        self._log_began = size(self._log_file)
        self._set_state(STARTING)
        running = await self._start()
        ended = asyncio.create_task(running.wait())
        stop = asyncio.create_task(self._stopping.wait())
        ready = asyncio.create_task(self._until_ready())
        try:
            await asyncio.wait((ended, stop, ready), timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            if not (ended.done() or stop.done() or ready.done()):
                await self._end(running)
                return f"did not answer within {READY_WITHIN:.0f} s ({type(self._unready).__name__})"
            if ready.done() and not ended.done():
                self._set_state(READY)
                self._report_first_start(None)
                log.info("%s is ready (pid %d)", self.process.name, running.pid)
                absent = asyncio.create_task(self._until_absent())
                await self._watch_until(ended, stop, absent)
                absent.cancel()
                if not (ended.done() or stop.done()):
                    await self._end(running)
                    return f"(pid {running.pid}) ran, but took no part in its consumer group for {ABSENT_AT_MOST:.0f} s"
            if not ended.done():
                await self._end(running)
            return self._how_it_ended(running, await ended)
        finally:
            for task in (ended, stop, ready):
                task.cancel()

    async def _watch_until(self, *ends: asyncio.Task[Any]) -> None:
        """Wait for the first of `ends`; meanwhile tell of a batch that the process can't get done with."""
        notes = self.process.env.get(BATCH_NOTES)
        every = LOOK_EVERY if notes else None
        while not (await asyncio.wait(ends, timeout=every, return_when=asyncio.FIRST_COMPLETED))[0]:
            problem = stuck_in(Path(notes), TOLD_AFTER) if notes else None
            if problem is not None and self.state.state == READY:
                log.error("%s: %s", self.process.name, problem)
                self._set_state(STUCK, problem)
            elif problem is None and self.state.state == STUCK:
                log.info("%s goes on", self.process.name)
                self._set_state(READY)

    async def _start(self) -> asyncio.subprocess.Process:
        argv = [*child.prefix(self.process.stop_signal, owner=self.process.owner), *self.process.argv]
        with append(self._log_file) as output:
            running = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment() | dict(self.process.env),
                start_new_session=True,
            )
        self.state.identity = Identity.of(running.pid)
        self._changed()
        log.info("%s started (pid %d)", self.process.name, running.pid)
        return running

    def _environment(self) -> dict[str, str]:
        server = self.process.name in SERVERS
        return environment.for_servers() if server else environment.for_services()

    async def _until_ready(self) -> None:
        while True:
            try:
                return await asyncio.to_thread(self.process.ready)
            except Exception as error:  # any failure to answer means: not yet
                self._unready = error
                await asyncio.sleep(0.15)

    async def _until_absent(self) -> None:
        """Return when the process has taken no part for too long: it runs, and does nothing that anybody sees."""
        absent_since: float | None = None
        while True:
            await asyncio.sleep(self.look_every)
            try:
                takes_part = await asyncio.to_thread(self.process.alive)
            except Exception:  # nobody can tell: Kafka is away, say
                takes_part = None
            if takes_part is not False:
                absent_since = None
            elif absent_since is None:
                absent_since = time.monotonic()
            elif time.monotonic() - absent_since >= self.absent_at_most:
                return

    async def _end(self, running: asyncio.subprocess.Process) -> None:
        """Ask the process to end, then end it and what it has started itself."""
        with contextlib.suppress(ProcessLookupError):
            running.send_signal(self.process.stop_signal)
        try:
            await asyncio.wait_for(running.wait(), ENDS_WITHIN)
        except TimeoutError:
            log.warning("%s did not end within %.0f s and is killed", self.process.name, ENDS_WITHIN)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        await running.wait()

    def _how_it_ended(self, running: asyncio.subprocess.Process, code: int) -> str:
        if code < 0 or code > 128:  # a JVM that has caught a signal ends with 128 and its number
            return f"(pid {running.pid}) was ended by {signal.Signals(-code if code < 0 else code - 128).name}"
        said = last_message(self._log_file, self._log_began)
        return f"(pid {running.pid}) ended with exit code {code}" + (f", saying: {said}" if code and said else "")

    def _report_first_start(self, problem: str | None) -> None:
        if self.first_start.done():
            return
        if problem is None:
            self.first_start.set_result(None)
        else:
            self.first_start.set_exception(Fatal(f"{self.process.name} {problem}. Its log: {self._log_file}"))
            self.first_start.exception()  # whoever does not wait for it need not hear of it

    def _set_state(self, state: str, problem: str | None = None) -> None:
        self.state.state = state
        self.state.since = time.time()
        if state in (RESTARTING, STOPPED):
            self.state.identity = None
        if problem is not None:
            self.state.last_error = problem
        self._changed()

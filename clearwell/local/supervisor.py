"""`python -m clearwell.local.supervisor HOME`: owns every process of one stack, and writes down how each is doing.

Started by `clearwell.local.start.up`, which reads JSON lines from its standard output until "error" or "ready"; then
the servers answer, and the services are on their way.
SIGTERM stops everything in reverse order. SIGHUP starts the services that are planned and not there yet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import msgspec

from clearwell import settings
from clearwell.errors import ClearwellError, Fatal
from clearwell.local import clients, services, state
from clearwell.local.message import StackMessage
from clearwell.local.prepare import prepare
from clearwell.local.process import Process
from clearwell.local.servers import check_external, plan_servers
from clearwell.local.supervised_process import SupervisedProcess

log = logging.getLogger("clearwell.local.supervisor")


class Supervisor:
    """All processes of one data folder, in the order of starting."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._processes: list[SupervisedProcess] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._me = state.Identity.of(os.getpid())
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> int:
        """Start everything, then watch until SIGTERM; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        starting = asyncio.create_task(self._start())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return 0
            starting.result()
            say(StackMessage(ready=True))
            await self._watch()
        except ClearwellError as error:
            log.error("%s", error)
            say(StackMessage(error=str(error), exit_code=error.exit_code))
            return error.exit_code
        finally:
            starting.cancel()
            stopped.cancel()
            await self._stop_all()
        return 0

    async def _start(self) -> None:
        plan = self._plan()
        external = settings.external()
        servers = await asyncio.to_thread(plan_servers, self._home, plan, external)
        await asyncio.to_thread(check_external, external)
        await self._start_processes(servers.processes)
        endpoints = servers.endpoints()
        state.write(self._home / settings.ENDPOINTS_FILE, endpoints)
        clients.write(self._home, endpoints)
        self._write_state()
        if plan.services:
            await asyncio.to_thread(prepare, settings.load())
            await self._start_services(plan)

    def _plan(self) -> state.StackPlan:
        return msgspec.json.decode((self._home / state.PLAN_FILE).read_bytes(), type=state.StackPlan)

    async def _start_processes(self, processes: tuple[Process, ...]) -> None:
        """Start side by side and wait until each is ready; the first that ends instead is the failure of all."""
        say(StackMessage(what="starting", done=0, total=len(processes)))

        async def begin(process: Process) -> None:
            await asyncio.to_thread(process.setup)
            await self._supervise(process).first_start

        starts = [asyncio.create_task(begin(process)) for process in processes]
        try:
            for count, begun in enumerate(asyncio.as_completed(starts), start=1):
                await begun
                say(StackMessage(what="starting", done=count, total=len(processes)))
        finally:  # one that failed, or the end of `up`: what is still set up must not start after that
            for start in starts:
                start.cancel()

    async def _start_services(self, plan: state.StackPlan) -> None:
        """Start the services that are not there yet; whoever wants them to be ready looks at the state."""
        there = {supervised.process.name for supervised in self._processes}
        planned = await asyncio.to_thread(services.plan_services, self._home, plan)
        for process in planned:
            if process.name not in there:
                await asyncio.to_thread(process.setup)
                self._supervise(process)

    def _supervise(self, process: Process) -> SupervisedProcess:
        supervised = SupervisedProcess(process, self._home, self._write_state)
        self._processes.append(supervised)
        self._tasks.append(asyncio.create_task(supervised.run()))
        return supervised

    async def _watch(self) -> None:
        while not self._stop.is_set():
            stop = asyncio.create_task(self._stop.wait())
            reload = asyncio.create_task(self._reload.wait())
            await asyncio.wait((stop, reload), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            reload.cancel()
            if self._reload.is_set():
                self._reload.clear()
                await self._start_more()

    async def _start_more(self) -> None:
        try:
            plan = self._plan()
            if plan.services:
                await self._start_services(plan)
        except ClearwellError as error:
            log.error("%s", error)

    async def _stop_all(self) -> None:
        """Services first, then servers, so that each can still sign off from what it uses."""
        servers = [supervised for supervised in self._processes if supervised.process.name in settings.SERVERS]
        for group in ([supervised for supervised in self._processes if supervised not in servers], servers):
            tasks = [task for supervised, task in zip(self._processes, self._tasks, strict=True) if supervised in group]
            for supervised in group:
                supervised.stop()
            await asyncio.gather(*tasks, return_exceptions=True)
        (self._home / settings.ENDPOINTS_FILE).unlink(missing_ok=True)
        (self._home / state.STATE_FILE).unlink(missing_ok=True)
        log.info("stopped")

    def _write_state(self) -> None:
        if self._me is None:
            raise Fatal("The supervisor can't see itself in the process table.")
        try:
            by_name = {supervised.process.name: supervised for supervised in self._processes}
            servers = [by_name[name] for name in settings.SERVERS if name in by_name]
            others = [supervised for supervised in self._processes if supervised not in servers]
            stack = state.StackState(self._me, [supervised.state for supervised in servers + others])
            state.write(self._home / state.STATE_FILE, stack)
        except OSError as error:  # a full disk must not end the processes that may still make room
            log.error("%s can't be written: %s", state.STATE_FILE, error.strerror)


def say(message: StackMessage) -> None:
    """Tell the waiting `up`; nobody may be listening any more."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
        sys.stdout.buffer.flush()
    except OSError:
        log.debug("nobody is listening")


def main() -> int:
    """Entry point; returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("clearwell").setLevel(logging.INFO)
    for driver in ("kafka", "pymongo", "psycopg"):  # a server that does not answer yet is no news here
        logging.getLogger(driver).setLevel(logging.CRITICAL)
    home = Path(sys.argv[1])
    os.umask(0o077)  # of all that this process and its children make
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.fork() != 0:  # whoever called `up` must not become the parent of a process that outlives it
        os._exit(0)

    async def start() -> int:
        return await Supervisor(home).run()

    try:
        return asyncio.run(start())
    except OSError as error:
        log.exception("ended")
        say(StackMessage(error=f"The stack can't start: {error.strerror} ({error.filename}).", exit_code=2))
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""Runs the connectors that are this collector's share, each on its own: one bad connector never stops another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from clearwell.backoff import delays
from clearwell.collector.rate_limit import Bucket
from clearwell.errors import ConfigError, Fatal, Retryable
from clearwell.metrics import table
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.plugins.kinds import is_pushed
from clearwell.registry import Connector, Registry, State, connectors, contracts
from clearwell.settings import Settings
from clearwell.source import Lag
from services.collector.connector_meters import ConnectorMeters
from services.collector.connector_run import Run
from services.collector.file_limit import LoopTrouble, out_of_files
from services.collector.listener import Listener
from services.collector.options import Options
from services.collector.push_run import PushRun
from services.collector.running_connector import Assignment, RunningConnector, StatusReporter, as_bug, happened
from services.collector.threads import Threads
from services.leases import Answer, Leases
from services.process_health import ProcessHealth

log = logging.getLogger(__name__)

POLL_SECONDS, ONCE_SECONDS = 1.0, 0.1

FIRST_DELAY, LONGEST_DELAY = 0.2, 2.0
"""When the registry does not answer; leases must be renewed soon after it does again."""

LISTEN_AGAIN_SECONDS = 5.0

SHUT_DOWN_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class StartedConnector:
    """A connector that runs here; `contract`: version and revision of its stream's, None where none is published."""

    running: RunningConnector
    task: asyncio.Task[None]
    contract: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a poll sees: connectors, our leases, and of each stream version and revision of its published contract."""

    connectors: list[Connector]
    answer: Answer
    contracts: Mapping[str, tuple[int, int]]


class Collector:
    """Keeps its share of the registry's running connectors running, and all of those that are sent their events."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        only: str | Collection[str] | None = None,
        options: Options | None = None,
        metrics: ProcessMetrics | None = None,
    ) -> None:
        """`only` limits it to the connectors of that name, or of these names.

        `push_endpoints`: the connectors that take requests now; `port`: where, 0 while the listener is not open.
        """
        metrics = metrics or ProcessMetrics()
        self.port = 0
        self._where = settings
        self._registry = registry
        self._report = StatusReporter(registry)
        self._only = None if only is None else frozenset([only] if isinstance(only, str) else only)
        self._options = options or Options()
        self._leases = Leases(self._options.lease_seconds, ",".join(sorted(self._only or ())))
        self._started: dict[str, StartedConnector] = {}
        self._hung: set[asyncio.Task[bool]] = set()
        self.push_endpoints: dict[str, PushRun] = {}
        self._threads = Threads()
        self._pushed: dict[str, bool] = {}
        self._metrics = metrics
        self._meters = ConnectorMeters(metrics)
        self.health = ProcessHealth("collector", metrics, self._options.lease_seconds)

    async def run(self, stop: asyncio.Event, *, once: bool = False) -> int:
        """Go on until `stop` is set; with `once` until no connector that is read is running. Returns an exit code.

        That is 0, or with `once` 2 when a connector is failing or its stream has no contract, and 70 when one did not
        stop in time.
        """
        asyncio.get_running_loop().set_default_executor(self._threads)
        asyncio.get_running_loop().set_exception_handler(LoopTrouble())
        self._listener = Listener(self.push_endpoints, self._count_request)
        listening = asyncio.create_task(self._listen(once))
        try:
            code = await self._watch(stop, once)
        finally:
            listening.cancel()
            late = await self._shut_down()
        return late or code

    async def _watch(self, stop: asyncio.Event, once: bool) -> int:
        waits = delays(FIRST_DELAY, LONGEST_DELAY)
        pause = 0.0
        while not await happened(stop, pause):
            try:
                look = await self._report.ask(partial(self._look, once, self._lags()))
            except (Retryable, OSError) as error:
                lack = out_of_files(error)
                if lack is None and isinstance(error, OSError):
                    raise
                log.warning("%s", lack or error)
                self.health.missed(len(self._leases.held))
                pause = next(waits)
                continue
            self.health.answered(look.answer.draining, look.answer.lost)
            self._meters.show_states(look.connectors)
            self._leases.learn(look.answer)
            self._adjust(look)
            if once and (code := self._code_of_end(look)) is not None:
                return code
            waits, pause = delays(FIRST_DELAY, LONGEST_DELAY), POLL_SECONDS if not once else ONCE_SECONDS
        return 0

    def _code_of_end(self, look: Look) -> int | None:
        """With `once`: the exit code when nothing more is read. Nobody waits for a contract that nobody published."""
        running = {connector.name for connector in look.connectors if connector.state is State.RUNNING}
        unpublished = [connector for connector in look.connectors if connector.stream not in look.contracts]
        if (running | self._started.keys()) - {connector.name for connector in unpublished}:
            return None
        waiting = [connector for connector in unpublished if connector.name in running]
        for connector in waiting:
            log.error(
                "connector %s: %s has no published contract, so nothing was read", connector.name, connector.stream
            )
        failed = waiting or any(connector.state is State.FAILING for connector in look.connectors)
        return ConfigError.exit_code if failed else 0

    def _lags(self) -> dict[str, Lag]:
        """Of the connectors that run here, when they are to be reported."""
        if not self._meters.due():
            return {}
        lags = {name: started.running.lag() for name, started in self._started.items()}
        self._meters.show_lags(lags)
        return lags

    def _count_request(self, connector: str, status: int) -> None:
        self._metrics.add(table.PUSH_REQUESTS, (connector, f"{status // 100}xx"))

    def _look(self, once: bool, lags: Mapping[str, Lag], session: Session) -> Look:
        """The connectors, and leases and contracts. Those that are sent their events never end: not with `once`."""
        connectors_now = [connector for connector in self._wanted(session) if not (once and self._is_pushed(connector))]
        leased = [
            connector.name
            for connector in connectors_now
            if connector.state is State.RUNNING and not self._is_pushed(connector)
        ]
        answer = self._leases.ask(session, leased, self.health.load())
        if lags:
            self._meters.report(session, lags)
        return Look(connectors_now, answer, contracts.newest_revisions(session))

    def _wanted(self, session: Session) -> list[Connector]:
        if self._only is None:
            return connectors.list_connectors(session)
        return [connectors.get(session, name) for name in sorted(self._only)]

    def _is_pushed(self, connector: Connector) -> bool:
        """Whether it is sent its events; looking at what is installed takes milliseconds, so once a kind."""
        kind = connector.source
        if kind not in self._pushed:
            self._pushed[kind] = is_pushed(kind)
        return self._pushed[kind]

    def _adjust(self, look: Look) -> None:
        """Start what should run here, tell to stop what should not or has changed; the next poll starts it anew."""
        self._listener.known = frozenset(
            seen_connector.name for seen_connector in look.connectors if self._is_pushed(seen_connector)
        )
        running = {
            seen_connector.name: seen_connector
            for seen_connector in look.connectors
            if seen_connector.state is State.RUNNING
        }
        for name, started in self._started.items():
            new = running.get(name)
            if (
                new is None
                or _differ(new, started.running.connector)
                or look.contracts.get(new.stream) != started.contract
            ):
                started.running.stop.set()
        self._give_away(look.answer)
        for name, connector in running.items():
            if name not in self._started and (name in self._leases.held or self._is_pushed(connector)):
                self._start(connector, look.contracts.get(connector.stream))

    def _give_away(self, answer: Answer) -> None:
        """More than our share is held: let others have the rest, newest first."""
        reading = [started for name, started in self._started.items() if name in self._leases.held]
        going_on = [started for started in reading if not started.running.stop.is_set()]
        for started in going_on[answer.share :]:
            log.info("connector %s: another collector takes it", started.running.connector.name)
            started.running.stop.set()

    def _start(self, connector: Connector, contract: tuple[int, int] | None) -> None:
        lease = self._leases.held.get(connector.name)
        bucket, meter = Bucket(connector.limits.events_per_second), self._meters.meter(connector)

        def begin() -> Run | PushRun:
            if lease is None:
                return PushRun(connector, self._registry, self._where, bucket, self.push_endpoints, meter)
            return Run(connector, self._registry, self._where, lease.epoch, bucket, meter)

        assignment = Assignment(connector, begin, lease, self._options.silent_seconds, meter)
        running = RunningConnector(assignment, self._report)
        task = asyncio.create_task(self._supervise(running), name=f"connector {connector.name}")
        self._started[connector.name] = StartedConnector(running, task, contract)

    async def _supervise(self, running: RunningConnector) -> None:
        name = running.connector.name
        lease = self._leases.held.get(name)
        try:
            await running.run()
        except Exception as error:  # a bug of ours; the next poll tries again
            log.error("connector %s: %s", name, as_bug(error))
        finally:
            self._hung |= running.hung
            self._threads.forget(name)
            del self._started[name]
            if lease is not None:
                if self._leases.held.get(name) is lease:
                    del self._leases.held[name]
                await self._report(lambda session: self._leases.release(session, name, lease))

    async def _listen(self, once: bool) -> None:
        """Open the listener; while another program has its address, say so and try again."""
        if once or self._options.listen is None:
            return
        while True:
            try:
                self.port = await self._listener.open(*self._options.listen)
            except ConfigError as error:
                log.error("%s", error)
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
            else:
                log.info("listening on %s:%d", self._options.listen[0], self.port)
                return

    async def _shut_down(self) -> int:
        """Answer the requests in flight, stop every connector after what is in flight was acknowledged."""
        for name, started in self._started.items():
            if name in self._leases.held:
                started.running.stop.set()
        await self._listener.close()
        for started in self._started.values():
            started.running.stop.set()
        late: set[asyncio.Task[None]] = set()
        if tasks := [started.task for started in self._started.values()]:
            _, late = await asyncio.wait(tasks, timeout=SHUT_DOWN_SECONDS)
        for task in late:
            log.error("%s did not stop within %.0f s", task.get_name(), SHUT_DOWN_SECONDS)
        await self._report(self._leases.leave)
        hung = late or self._hung or self._threads.hang(patience=1.0)
        return Fatal.exit_code if hung else 0


def _differ(new: Connector, running: Connector) -> bool:
    """Whether the read of a connector must end and begin anew, as it is registered now."""
    return (new.config, new.limits, new.restarts, new.created_at) != (
        running.config,
        running.limits,
        running.restarts,
        running.created_at,
    )

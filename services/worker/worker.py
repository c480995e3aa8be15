"""Hosts the jobs that are this worker's share, each on its own: one that fails or hangs stops no other."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from clearwell.errors import ClearwellError, Fatal, Retryable
from clearwell.kafka import groups
from clearwell.kafka.end_offsets import EndOffsets
from clearwell.kafka.names import raw_topic
from clearwell.metrics import table
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.registry import Registry
from clearwell.registry.jobs import JobFigures, JobReport, JobState, RegisteredJob, WantedState
from clearwell.settings import Settings
from clearwell.worker.batch_watch import VARIABLE as BATCH_NOTES
from clearwell.worker.batch_watch import left_behind
from clearwell.worker.destination_health import DestinationHealth
from clearwell.worker.job_meters import JobLabels, JobMeter
from clearwell.worker.job_thread import JobThread
from services.process_health import ProcessHealth
from services.worker.child_process import ChildProcess
from services.worker.hosted_job import Ends, HostedJob, Running
from services.worker.load_sharing import Surplus
from services.worker.member_name import member_name
from services.worker.options import Options
from services.worker.registry_exchange import NONE_TAKEN, Answer, News, RegistryExchange, Release
from services.worker.wiring import Wiring

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
EXCHANGE_SECONDS = 1.0
RAW_SECONDS, ENDS_SECONDS = 0.2, 1.0
"""How often it is asked where raw topics end, whose events wake jobs, and where all topics do."""

FIGURES_SECONDS = 5.0
"""How often the registry is told what each job does."""

NO_FIGURES = JobFigures()

STARTS_AT_ONCE = 8
STOP_SECONDS = 18.0
"""How long a stop of the worker waits for its jobs: longer than one of them may take (`job_run.STOP_WITHIN`)."""

STUCK_SECONDS = 5.0
"""How long one batch may hold its thread before the job is given a process of its own; an ordinary one takes 0.05 s."""

LEFT_BEHIND_SECONDS = 45.0
"""How long ago a batch must have begun that the last process of this name was ended in, to be what held it up.

A supervisor ends a worker that gives no sign of life for a minute, and starts it again within half a minute.
"""

STOPPED = {WantedState.PAUSED: JobState.PAUSED, WantedState.ENDED: JobState.ENDED}
"""What a job is that was stopped, by what is wanted of it."""


class Worker:
    """Keeps its share of the registry's jobs running."""

    def __init__(self, registry: Registry, settings: Settings, options: Options, metrics: ProcessMetrics) -> None:
        self._registry = registry
        self._settings = settings
        self._options = options
        self._wiring = Wiring(settings, registry)
        self._exchange = RegistryExchange(uuid.uuid4().hex, options.name, options.lease_seconds, options.only)
        self._hosted: dict[str, HostedJob] = {}
        self._registered: Mapping[str, RegisteredJob] = {}
        self._reported: dict[str, JobReport] = {}
        notes = os.environ.get(BATCH_NOTES)
        self._alone = left_behind(Path(notes), LEFT_BEHIND_SECONDS) if notes else {}
        self._ends: dict[str, Mapping[int, int]] = {}
        self._end_offsets = EndOffsets(settings.kafka)
        self._surplus = Surplus()
        self._metrics = metrics
        self.health = ProcessHealth("worker", metrics, options.lease_seconds)
        self._figures: dict[str, JobFigures] = {}
        self._figures_at = 0.0
        self._is_away = False
        self._hung: list[Running] = []
        self._released: dict[str, Release] = {}
        self._exchange_now = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> int:
        """Go on until `stop` is set, or a job hangs that can't be ended; returns an exit code."""
        watching = asyncio.create_task(self._watch_ends())
        exchanging = asyncio.create_task(self._keep_exchanging())
        try:
            while not stop.is_set() and not self._hung:
                self._tick()
                for task in (watching, exchanging):
                    if task.done():
                        task.result()
                try:
                    async with asyncio.timeout(TICK_SECONDS):
                        await stop.wait()
                except TimeoutError:
                    continue
        finally:
            for task in (watching, exchanging):
                task.cancel()
            await self._shut_down()
        return Fatal.exit_code if self._hung else 0

    def _tick(self) -> None:
        starting = sum(job.is_starting for job in self._hosted.values())
        for name, job in list(self._hosted.items()):
            job.look(self._ends)
            if job.is_over:
                self._let_go(name, job)
            elif job.waits_to_start and starting < STARTS_AT_ONCE:
                job.begin()
                starting += 1
            elif job.hangs and job.running is not None:
                log.error("%s does not stop: this worker hands its other jobs over, and starts anew", name)
                self._hung.append(job.running)
            elif job.running is not None and (problem := job.running.stuck(STUCK_SECONDS)) is not None:
                self._part_with(name, job, problem)

    def _start(self, registered: RegisteredJob, health: DestinationHealth, meter: JobMeter) -> Running:
        spec = registered.spec
        if registered.alone:
            return ChildProcess(spec.name)
        instance = member_name(spec.name, self._settings.postgres, leased=True)
        return JobThread(spec.name, self._wiring.job(spec, health, meter), instance, lambda: None)

    def _host(self, registered: RegisteredJob, asleep_at: Ends | None) -> HostedJob:
        spec = registered.spec
        copy = spec.name.removeprefix(spec.group).lstrip("#") or "1"
        meter = JobMeter(self._metrics, JobLabels(spec.stream, spec.kind, spec.destination, copy))
        return HostedJob(registered, self._start, meter, asleep_at)

    def _part_with(self, name: str, job: HostedJob, problem: str) -> None:
        """A batch that does not end holds up all others of this process: the job gets one of its own.

        Its thread can't be ended from outside, so that this worker hands its other jobs over and starts anew.
        """
        log.error("%s: %s It gets a process of its own.", name, problem)
        self._alone[name] = problem
        if job.running is not None:
            self._hung.append(job.running)

    async def _watch_ends(self) -> None:
        """Ask where topics end: of raw often, since that wakes; of all others now and then."""
        all_at = 0.0
        while True:
            topics = {topic for job in self._hosted.values() for topic in job.watched_topics()}
            now = time.monotonic()
            if now - all_at < ENDS_SECONDS:
                topics = {raw_topic(job.spec.stream) for job in self._hosted.values()} & topics
            else:
                all_at = now
            if topics:
                try:
                    self._ends |= await self._end_offsets.ask(topics)
                except Retryable as error:
                    log.debug("%s", error)  # the jobs themselves tell of it
            await asyncio.sleep(RAW_SECONDS)

    async def _keep_exchanging(self) -> None:
        while True:
            self._exchange_now.clear()
            news = self._news()
            try:
                answer = await asyncio.to_thread(self._ask, news)
            except (ClearwellError, OSError) as error:  # also where its tables are just being changed
                if not self._is_away:
                    log.warning("The registry is away; the jobs go on, and no other is taken. %s", error)
                self._is_away = True
                self.health.missed(len(self._exchange.held))
            else:
                if self._is_away:
                    log.info("The registry is back.")
                self._is_away = False
                self._reported |= {report.spec.name: report for report in news.reports}
                for name in news.alone:
                    self._alone.pop(name, None)
                for name in news.released:
                    self._released.pop(name, None)
                    self._exchange.forget(name)
                await self._learn(answer)
            try:
                async with asyncio.timeout(EXCHANGE_SECONDS):
                    await self._exchange_now.wait()
            except TimeoutError:
                continue

    def _ask(self, news: News) -> Answer:
        with self._registry.session() as session:
            return self._exchange.ask(session, news)

    def _news(self) -> News:
        now = time.monotonic()
        healths = {name: job.health() for name, job in self._hosted.items()}
        if now - self._figures_at >= FIGURES_SECONDS:
            self._figures_at = now
            self._figures = {name: job.figures(self._ends) for name, job in self._hosted.items()}
            self._metrics.set(table.WORKER_JOBS, len(healths))
            self._metrics.set(table.WORKER_SLEEPING_JOBS, sum(job.is_asleep for job in self._hosted.values()))
        reports = [
            report
            for name, job in self._hosted.items()
            if not job.registered.alone
            and (report := JobReport(job.spec, healths[name], self._figures.get(name, NO_FIGURES)))
            != self._reported.get(name)
        ]
        unstarted = sum(health.state is JobState.STARTING for health in healths.values())
        return News(self.health.load(), reports, unstarted, dict(self._alone), dict(self._released))

    async def _learn(self, answer: Answer) -> None:
        lost = self._exchange.learn(answer)
        self.health.answered(answer.draining, len(lost))
        for name in lost:
            log.warning("%s: another worker has it", name)
            self._exchange.forget(name)
            if name in self._hosted:
                self._hosted[name].stop()
        if answer.jobs is not None:
            self._registered = answer.jobs
        if answer.taken:
            asleep_at = await self._find_asleep(answer.taken)
            for name in answer.taken:
                self._hosted[name] = self._host(self._registered[name], asleep_at.get(name))
            self._exchange_now.set()  # more may be free: of many that begin asleep, all are ours at once
        self._adjust(answer)

    def _adjust(self, answer: Answer) -> None:
        """Stop what is no longer to run here, change what has changed, give away what is too much."""
        for name, job in self._hosted.items():
            registered = self._registered.get(name)
            if registered is None or registered.wanted is not WantedState.RUNNING:
                job.stop()
            elif _differ(registered, job.registered):
                job.change(registered)
        for name in self._surplus.choose(
            self._hosted, answer, {name: figures.busy for name, figures in self._figures.items()}
        ):
            log.info("%s: another worker takes it", name)
            self._hosted[name].stop()

    async def _find_asleep(self, names: Collection[str]) -> dict[str, Mapping[str, Mapping[int, int]]]:
        """Of jobs that were idle: where their topics end, if their groups have read all of it. They begin asleep."""
        idle = [self._registered[name].spec for name in names]
        idle = [spec for spec in idle if self._registered[spec.name].health.state is JobState.IDLE]
        if not idle:
            return {}
        topics = {spec.name: {spec.topic, raw_topic(spec.stream)} for spec in idle}
        try:
            ends = await self._end_offsets.ask(set().union(*topics.values()))
            groups_of = {spec.group for spec in idle}
            committed = await asyncio.to_thread(groups.committed_by, self._settings.kafka, groups_of)
        except ClearwellError:
            return {}
        return {
            spec.name: {topic: ends[topic] for topic in topics[spec.name]}
            for spec in idle
            if topics[spec.name] <= ends.keys()
            and all(
                committed.get(spec.group, {}).get((spec.topic, partition), 0) == end
                for partition, end in ends[spec.topic].items()
            )
        }

    def _let_go(self, name: str, job: HostedJob) -> None:
        """What was stopped is given back with the next exchange."""
        del self._hosted[name]
        job.close()
        self._figures.pop(name, None)
        self._reported.pop(name, None)
        registered = self._registered.get(name)
        state = JobState.WAITING if registered is None else STOPPED.get(registered.wanted, JobState.WAITING)
        if job.was_asleep and state is JobState.WAITING:
            state = JobState.IDLE  # whoever takes it next need not start it to find that there is nothing to do
        report = JobReport(job.spec, job.stopped(state))
        self._released[name] = Release(report, self._surplus.offered.pop(name, None))
        self._exchange_now.set()

    async def _shut_down(self) -> None:
        """Stop all jobs in order; what does not stop in time is left, and read again elsewhere."""
        for job in self._hosted.values():
            job.stop()
        until = time.monotonic() + STOP_SECONDS
        while self._hosted and time.monotonic() < until:
            for name, job in list(self._hosted.items()):
                job.look(self._ends)
                if job.is_over:
                    self._let_go(name, job)
                elif job.running in self._hung:
                    self._released[name] = Release(None, None)
                    del self._hosted[name]
            await asyncio.sleep(TICK_SECONDS / 2)
        for name, job in self._hosted.items():
            log.error("%s did not stop within %.0f s", name, STOP_SECONDS)
            if isinstance(job.running, ChildProcess):
                job.running.kill()
        news = self._news()

        def leave() -> None:
            with self._registry.session() as session:
                self._exchange.ask(session, replace(news, unstarted=NONE_TAKEN))
                self._exchange.leave(session)

        try:
            await asyncio.to_thread(leave)
        except ClearwellError as error:
            log.warning("The leases run out by themselves. %s", error)
        await self._end_offsets.close()


def _differ(registered: RegisteredJob, running: RegisteredJob) -> bool:
    """Whether a job must stop and begin anew, as it is registered now."""
    return (registered.spec, registered.restarts, registered.alone) != (running.spec, running.restarts, running.alone)

"""A worker hosts the jobs of what is published: taken by lease, asleep when all is read, each failing alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psutil
import pytest

from clearwell.kafka.names import cleaner_group, deliverer_group
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.registry import Registry, jobs
from clearwell.registry.jobs import JobKind, JobSpec, JobState, RegisteredJob, WantedState
from clearwell.worker.batch_watch import BatchWatch
from clearwell.worker.destination_health import DestinationHealth
from clearwell.worker.job import GetProducer, Job
from clearwell.worker.job_failure import set_up_logging
from clearwell.worker.job_meters import JobMeter
from clearwell.worker.job_run import MakeJob
from clearwell.worker.partition_processor import BatchWork, FetchedBatch
from services.worker import hosted_job, worker
from services.worker.options import Options
from services.worker.wiring import Wiring
from services.worker.worker import Worker
from tests.support.killing import Feed, dice
from tests.support.platform import Platform, flights_contract, numbered, until
from tests.support.publishing import publish_contract

pytestmark = [
    pytest.mark.slow,
    # What was broken off leaves sockets to the end of its process; here the process goes on.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CANARY = "canary-of-a-text"


@pytest.fixture
def registry(platform: Platform) -> Iterator[Registry]:
    with closing(Registry(platform.settings.postgres)) as opened:
        yield opened


def levels() -> dict[str, int]:
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    return {logger.name: logger.level for logger in loggers}


@pytest.fixture
def as_a_process_logs() -> Iterator[None]:
    """Levels of loggers as `services.worker` sets them."""
    before = levels()
    set_up_logging()
    yield
    for name in levels():
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


def states(registry: Registry, platform: Platform) -> dict[str, JobState]:
    with registry.session() as session:
        return {job.spec.name: job.health.state for job in jobs.list_jobs(session, platform.stream)}


def find(registry: Registry, name: str) -> RegisteredJob:
    with registry.session() as session:
        return jobs.get(session, name)


def all_in(registry: Registry, platform: Platform, *wanted: JobState) -> bool:
    return set(states(registry, platform).values()) <= set(wanted)


@contextmanager
def hosted(platform: Platform, registry: Registry, wiring: Wiring | None = None, code: int = 0) -> Iterator[Worker]:
    """A worker in a thread of this process, for the jobs of one stream; it ends with the exit code `code`."""
    hosting = Worker(registry, platform.settings, Options("w", 4.0, platform.stream), ProcessMetrics())
    if wiring is not None:
        hosting._wiring = wiring
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    ended: list[int] = []

    def serve() -> None:
        ended.append(loop.run_until_complete(hosting.run(stop)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield hosting
    finally:
        if code == 0:
            loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
        gc.collect()  # not in the middle of another module's test
    assert ended == [code]


def test_jobs_sleep_when_all_is_read_and_wake_when_more_comes(
    platform: Platform, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_job, "SLEEPS_AFTER", 1.0)
    with hosted(platform, registry):
        until(lambda: all_in(registry, platform, JobState.RUNNING, JobState.IDLE), 30)
        for round_ in range(3):
            platform.put(numbered(200, round_ * 200))
            until(lambda total=(round_ + 1) * 200: platform.cleaned() == total, 30)
            until(lambda: set(states(registry, platform).values()) == {JobState.IDLE}, 40)
            assert threading.active_count() < 40
        until(lambda: find(registry, cleaner_group(platform.stream, 1)).figures.lag_events == 0, 20)
    assert platform.settle(30).settled
    assert set(states(registry, platform).values()) == {JobState.IDLE}


def test_a_paused_job_stops_and_a_new_revision_is_taken_over(platform: Platform, registry: Registry) -> None:
    deliverer = deliverer_group(platform.stream, 1, "postgres")
    with hosted(platform, registry):
        platform.put(numbered(100))
        until(lambda: platform.cleaned() == 100, 30)
        with registry.session() as session:
            jobs.set_wanted(session, [deliverer], WantedState.PAUSED, "pause", "test")
        until(lambda: states(registry, platform)[deliverer] is JobState.PAUSED, 30)
        platform.contract_file.write_text(platform.contract_file.read_text() + "# another revision\n")
        publish_contract(platform.settings.postgres, platform.contract_file)
        platform.put(numbered(100, 100))
        until(lambda: platform.cleaned() == 200, 30)
        assert find(registry, cleaner_group(platform.stream, 1)).spec.revision == 1
        assert states(registry, platform)[deliverer] is JobState.PAUSED
        with registry.session() as session:
            jobs.set_wanted(session, [deliverer], WantedState.RUNNING, "resume", "test")
        platform.settle(40)


class Broken(Exception):
    """What a bug of ours would raise; its text must be seen nowhere."""


@dataclass
class Flaky:
    """Fails now and then: before a batch, while it waits to be durable, or after it is."""

    work: BatchWork
    dice: random.Random
    failures: list[str]

    async def begin(self, partition: int, first: int, generation: int) -> None:
        await self.work.begin(partition, first, generation)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        await self.work.skip(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        self._fail("before", 0.02)
        durable = asyncio.ensure_future(await self.work.handle(fetched))
        self._fail("sent", 0.02)
        return self._durable(durable)

    async def _durable(self, durable: Awaitable[None]) -> None:
        await durable
        self._fail("durable", 0.02)

    def _fail(self, when: str, chance: float) -> None:
        if self.dice.random() < chance:
            self.failures.append(when)
            raise Broken(CANARY)


class FlakyWiring(Wiring):
    """Its cleaners and deliverers fail at random."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.dice, self.failures = dice(), list[str]()

    def job(self, spec: JobSpec, health: DestinationHealth, meter: JobMeter) -> MakeJob:
        make = super().job(spec, health, meter)

        async def make_flaky(producer: GetProducer) -> Job:
            job = await make(producer)
            return replace(job, work=Flaky(job.work, self.dice, self.failures))

        return make_flaky


@pytest.mark.usefixtures("as_a_process_logs")
def test_jobs_that_fail_at_random_in_a_living_worker_lose_and_repeat_nothing(
    platform: Platform, registry: Registry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_job, "LONGEST_WAIT", 0.6)
    wiring, feed = FlakyWiring(platform.settings, registry), Feed(platform, 300)
    with hosted(platform, registry, wiring):
        with feed.running():
            until(lambda: len(wiring.failures) > 12, 120)
        wiring.dice = random.Random(0)
        monkeypatch.setattr(Flaky, "_fail", lambda *_: None)
        found = platform.settle(120)
    assert found.balanced, found
    assert {account.delivered for account in found.destinations} == {len(feed.values)}
    assert CANARY not in caplog.text
    assert len(set(wiring.failures)) == 3


@dataclass
class Spoilt:
    """What it has done is never durable, and fails once that is asked for."""

    work: BatchWork
    taken: threading.Event
    fail: threading.Event

    async def begin(self, partition: int, first: int, generation: int) -> None:
        await self.work.begin(partition, first, generation)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        await self.work.skip(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        self.taken.set()
        return self._durable()

    async def _durable(self) -> None:
        await asyncio.to_thread(self.fail.wait, 60)
        raise Broken(CANARY)


class SpoiltWiring(Wiring):
    """Its first cleaner is spoilt."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.taken, self.fail = threading.Event(), threading.Event()

    def job(self, spec: JobSpec, health: DestinationHealth, meter: JobMeter) -> MakeJob:
        make = super().job(spec, health, meter)

        async def make_spoilt(producer: GetProducer) -> Job:
            job = await make(producer)
            spoilt = spec.kind is JobKind.CLEANER and not self.fail.is_set()
            return replace(job, work=Spoilt(job.work, self.taken, self.fail)) if spoilt else job

        return make_spoilt


@pytest.mark.usefixtures("as_a_process_logs")
def test_what_fails_while_it_is_stopped_is_told_and_read_again(
    platform: Platform, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    cleaner, wiring = cleaner_group(platform.stream, 1), SpoiltWiring(platform.settings, registry)

    def want(state: WantedState) -> None:
        with registry.session() as session:
            jobs.set_wanted(session, [cleaner], state, str(state), "test")

    with hosted(platform, registry, wiring) as hosting:
        platform.put(numbered(50))
        assert wiring.taken.wait(30)
        want(WantedState.PAUSED)
        until(lambda: hosting._hosted[cleaner].is_stopping, 10)
        wiring.fail.set()
        until(lambda: states(registry, platform)[cleaner] is JobState.PAUSED, 10)
        assert find(registry, cleaner).health.last_error == "It ended by Broken; see the worker's log."
        assert platform.cleaned() == 0
        want(WantedState.RUNNING)
        found = platform.settle(40)
    assert found.balanced and {account.delivered for account in found.destinations} == {50}
    assert CANARY not in caplog.text and "It was being stopped." in caplog.text


@dataclass
class Hog:
    """Works on its first batch for some seconds, and lets no other task of its loop come by."""

    work: BatchWork
    watch: BatchWatch
    has_worked: bool = False

    async def begin(self, partition: int, first: int, generation: int) -> None:
        await self.work.begin(partition, first, generation)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        await self.work.skip(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        if not self.has_worked:
            self.has_worked = True
            with self.watch.during("raw.visits", fetched.partition, fetched.first, fetched.last):
                time.sleep(3)  # noqa: ASYNC251 - the point of it
        return await self.work.handle(fetched)


class HogWiring(Wiring):
    """Its cleaners hog their thread."""

    def job(self, spec: JobSpec, health: DestinationHealth, meter: JobMeter) -> MakeJob:
        make = super().job(spec, health, meter)

        async def make_hog(producer: GetProducer) -> Job:
            job = await make(producer)
            return job if job.watch is None else replace(job, work=Hog(job.work, job.watch))

        return make_hog


def test_a_job_that_hogs_its_worker_is_named_and_gets_a_process_of_its_own(
    platform: Platform, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STUCK_SECONDS", 0.5)
    cleaner = cleaner_group(platform.stream, 1)
    with hosted(platform, registry, HogWiring(platform.settings, registry), code=70):
        platform.put(numbered(50))
        until(lambda: find(registry, cleaner).alone, 30)
    assert "is worked on for" in find(registry, cleaner).why_alone
    process = platform.start_worker(CLEARWELL_STREAM=platform.stream)
    found = platform.settle(60)
    assert found.balanced and {account.delivered for account in found.destinations} == {50}
    (child,) = psutil.Process(process.process.pid).children()
    assert child.cmdline()[-3:] == ["--job", cleaner, "--leased"]
    assert process.stop() == 0
    assert not child.is_running()


def test_the_jobs_of_a_killed_worker_are_taken_over(platform: Platform, registry: Registry) -> None:
    env = {"CLEARWELL_STREAM": platform.stream, "CLEARWELL_LEASE_SECONDS": "4"}
    first = platform.start_worker(**env)
    until(lambda: all_in(registry, platform, JobState.RUNNING, JobState.IDLE), 60)
    platform.put(numbered(500))
    until(lambda: platform.cleaned() > 0, 30)
    second = platform.start_worker(**env)
    until(lambda: "started" in second.text(), 30)
    first.process.send_signal(signal.SIGKILL)
    platform.put(numbered(500, 500))
    until(lambda: platform.cleaned() >= 1000, 30)
    found = platform.settle(60)
    assert found.balanced, found
    assert {account.delivered for account in found.destinations} == {1000}


def test_one_job_that_can_not_run_says_why_and_the_others_do(
    platform_of: Callable[[str], Platform],
) -> None:
    platform = platform_of(flights_contract().replace("{to: mongo, collection: $stream}", "{to: sql.nobody, table: x}"))
    with closing(Registry(platform.settings.postgres)) as registry, hosted(platform, registry):
        name = next(name for name in states(registry, platform) if "nobody" in name)
        until(lambda: states(registry, platform)[name] is JobState.FAILING, 30)
        job = find(registry, name)
        assert "nobody" in (job.health.last_error or "") and job.health.next_try_at is not None
        platform.put(numbered(50))
        until(lambda: platform.cleaned() == 50, 30)

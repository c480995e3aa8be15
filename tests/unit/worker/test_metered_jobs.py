"""A cleaner and a deliverer with a meter, over a log in memory: what they say they did is what they did."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from prometheus_client import generate_latest

from clearwell.contract.load import load
from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.metrics.process_metrics import ProcessMetrics
from clearwell.pipeline.compiler import compile
from clearwell.steps import bind
from clearwell.testing import TestPlatform
from clearwell.testing.job_runner import MakeJob, run_job
from clearwell.testing.kills import Kills
from clearwell.worker.cleaner import open_cleaner
from clearwell.worker.deliverer import open_deliverer
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.job import GetProducer, Job
from clearwell.worker.job_meters import JobLabels, JobMeter
from tests.support.platform import numbered

FLIGHTS = load(Path(__file__).parents[3] / "schemas" / "flights" / "v1.yaml")


async def _stop_nobody(connector: str, reason: str) -> bool:
    return False


def cleaner(platform: TestPlatform, meter: JobMeter) -> MakeJob:
    async def make(producer: GetProducer) -> Job:
        keyring = platform.keyring
        work = open_cleaner(
            platform.log, compile(FLIGHTS, keyring), keyring, _stop_nobody, lambda *_: None, producer, meter
        )
        return Job(platform.log, "cleaner", work.identity, work.positions, work, meter=meter)

    return make


def deliverer(platform: TestPlatform, thread: DestinationThread) -> MakeJob:
    async def make(producer: GetProducer) -> Job:
        route = FLIGHTS.route("postgres")
        work = await open_deliverer(platform.log, FLIGHTS, route, platform.keyring, thread, lambda *_: None, producer)
        return Job(platform.log, "deliverer", work.identity, work.positions, work, meter=thread.meter)

    return make


def test_a_cleaner_and_a_deliverer_say_what_they_did() -> None:
    platform, metrics = TestPlatform(FLIGHTS), ProcessMetrics()
    platform.put(*numbered(120), *[b"{"] * 3)
    cleaning = JobMeter(metrics, JobLabels("flights", "cleaner"))
    asyncio.run(run_job(platform.log, cleaner(platform, cleaning), 50, Kills()))
    ends = platform.log.end_offsets("raw.flights")
    reading = cleaning.read(ends, dict.fromkeys(ends, 0))
    assert (reading.events, reading.lag_events, reading.lag_seconds) == (123, 0, 0)

    delivering = JobMeter(metrics, JobLabels("flights", "deliverer", "postgres"))
    destination = MemoryDestination(MemoryStore(), bind(FLIGHTS).schema, "deliverer")
    with closing(DestinationThread(destination, meter=delivering)) as thread:
        asyncio.run(run_job(platform.log, deliverer(platform, thread), 50, Kills()))
        assert (reading := delivering.read()).events == 120
        assert reading.busy > 0, "the store's thread has worked"
    page = generate_latest(metrics.registry).decode()
    for line in (
        'clearwell_cleaner_events_total{outcome="kept",stream="flights"} 120.0',
        'clearwell_cleaner_rejected_total{reason="decode",stream="flights"} 3.0',
        'clearwell_destination_rows_total{destination="postgres",stream="flights"} 120.0',
        'clearwell_job_events_total{copy="1",destination="postgres",kind="deliverer",stream="flights"} 120.0',
    ):
        assert line in page

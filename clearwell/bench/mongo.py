"""A MongoDB deliverer beside a bare `insert_many` of the same documents: what a client pays for an event."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pymongo import MongoClient

from clearwell.bench.figures import Say, clean_all, delivered, deliverer_of, running_job, store_of
from clearwell.bench.measure import watch
from clearwell.bench.scene import Scene, fill_raw, scene
from clearwell.settings import Settings

GOAL_US = 25.0
"""CPU microseconds an event of the deliverer's process: Kafka, decoding, documents, the driver and the accounts."""

FLUSH = 5_000


@dataclass(frozen=True, slots=True)
class MongoFigures:
    """Events a second, which are mostly the server's, and CPU microseconds an event, which are the client's."""

    events: int
    events_per_second: int
    cpu_us: float
    goal_us: float
    limit_per_second: int
    limit_cpu_us: float
    peak_rss_mb: float


def bench_mongo(settings: Settings, events: int, say: Say) -> MongoFigures:
    """One deliverer process, from an empty collection on; then its documents written anew by the bare driver."""
    with scene(settings) as bench_scene:
        say(f"filling clean with {events:,} events")
        fill_raw(bench_scene, events)
        clean_all(bench_scene, events)
        say("one deliverer process")
        store = store_of(bench_scene, "mongo")
        with running_job(bench_scene, deliverer_of(bench_scene, "mongo")) as process:
            work = watch([process], delivered(bench_scene, store), events)
        store.close()
        say("limit: insert_many of the same documents")
        rate, limit_us = _insert(bench_scene)
    cpu_us = round(work.cpu_seconds / events * 1e6, 1)
    return MongoFigures(
        events, round(work.events_per_second), cpu_us, GOAL_US, rate, limit_us, round(work.peak_rss_mb, 1)
    )


def _insert(bench_scene: Scene) -> tuple[int, float]:
    """Documents a second and CPU microseconds a document, of a copy of the stream's collection; the copy goes again."""
    with MongoClient[dict[str, object]](bench_scene.settings.mongo) as client:
        database = client.get_default_database()
        copy = database[f"{bench_scene.stream}_copy"]
        documents = list(database[bench_scene.stream].find())
        wall, cpu = time.perf_counter(), time.process_time()
        for begin in range(0, len(documents), FLUSH):
            copy.insert_many(documents[begin : begin + FLUSH], ordered=False)
        seconds, used = time.perf_counter() - wall, time.process_time() - cpu
        copy.drop()
    return round(len(documents) / seconds), round(used / len(documents) * 1e6, 1)

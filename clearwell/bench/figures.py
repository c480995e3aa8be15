"""The three measurements, each beside its limit on the same events.

A shared machine changes its speed from one minute to the next. So limits that are processes of their own are
measured before and after, and the mean counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from clearwell.bench.latency import latency_p99
from clearwell.bench.measure import LOOK, Measurement, running, watch
from clearwell.bench.scene import PARTITIONS, Scene, fill_raw, scene
from clearwell.destinations.protocol import Destination
from clearwell.errors import ConfigError, Fatal
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, cleaner_group, deliverer_group
from clearwell.local import postgres as embedded
from clearwell.plugins.open_destination import open_destination
from clearwell.settings import Settings
from clearwell.steps import bind

Say = Callable[[str], None]

CLAIMED_WITHIN = 60.0
"""Seconds within which a deliverer that was started takes its partitions."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement beside its limit; `goal` is the ratio to reach."""

    events: int
    events_per_second: float
    limit_per_second: float
    ratio: float
    goal: float
    limit: str
    cpu_seconds: float
    peak_rss_mb: float
    latency_p99_ms: float | None = None


def bench_cleaner(settings: Settings, events: int, say: Say) -> Figures:
    """One cleaner process against bare aiokafka `getmany` and a JSON decode."""
    with scene(settings) as bench_scene:
        say(f"filling raw with {events:,} events")
        fill_raw(bench_scene, events)
        say("limit: aiokafka getmany + JSON decode")
        limit = _limit(bench_scene, "read", events)
        say("one cleaner process")
        work = clean_all(bench_scene, events)
        say("limit, again")
        limit = (limit + _limit(bench_scene, "read", events)) / 2
    return _figures(events, work, limit, 0.25, "aiokafka getmany + JSON decode")


def bench_postgres(settings: Settings, events: int, say: Say) -> Figures:
    """One Postgres deliverer process against server-side COPY of the same rows into the keyed table."""
    with scene(settings) as bench_scene:
        say(f"filling clean with {events:,} events")
        fill_raw(bench_scene, events)
        clean_all(bench_scene, events)
        say("one deliverer process")
        store = store_of(bench_scene, "postgres")
        with running_job(bench_scene, deliverer_of(bench_scene, "postgres")) as process:
            work = watch([process], delivered(bench_scene, store), events)
        store.close()
        say("limit: server-side COPY into the keyed table")
        limit = _server_side_copy(administrator_url(settings), bench_scene.stream)
    return _figures(events, work, limit, 0.2, "server-side COPY into the keyed table")


def bench_end_to_end(settings: Settings, events: int, say: Say) -> Figures:
    """raw → Postgres with cleaner and deliverer running, against one bare loop; then latency at 2,000 events/s."""
    with scene(settings) as bench_scene:
        say(f"filling raw with {events:,} events")
        fill_raw(bench_scene, events)
        say("limit: confluent-kafka consume + decode + the same upsert, in one process")
        limit = _limit(bench_scene, "bare", events)
        say("cleaner and deliverer together")
        store = store_of(bench_scene, "postgres")
        # The deliverer is there first: what is clean before the first row comes would not be counted.
        with running_job(bench_scene, deliverer_of(bench_scene, "postgres")) as deliverer:
            _wait_for_claims(bench_scene, store, deliverer)
            with running_job(bench_scene, cleaner_of(bench_scene)) as cleaner:
                work = watch([cleaner, deliverer], delivered(bench_scene, store), events)
                say("latency at 2,000 events a second, for 20 s")
                p99 = latency_p99(bench_scene)
        store.close()
        say("limit, again")
        limit = (limit + _limit(bench_scene, "bare", events)) / 2
    return _figures(events, work, limit, 0.75, "confluent-kafka consume + decode + the same upsert", p99)


def _figures(
    events: int, work: Measurement, limit: float, goal: float, name: str, latency: float | None = None
) -> Figures:
    ratio = work.events_per_second / limit
    rate = round(work.events_per_second)
    cpu, rss = round(work.cpu_seconds, 2), round(work.peak_rss_mb, 1)
    return Figures(events, rate, round(limit), round(ratio, 3), goal, name, cpu, rss, latency)


def cleaner_of(bench_scene: Scene) -> str:
    """The job that cleans the scene's stream."""
    return cleaner_group(bench_scene.stream, bench_scene.contract.version)


def deliverer_of(bench_scene: Scene, to: str) -> str:
    """The job that fills one of its destinations."""
    return deliverer_group(bench_scene.stream, bench_scene.contract.version, to)


def running_job(bench_scene: Scene, name: str) -> AbstractContextManager[psutil.Process]:
    """A process for one job alone, for as long as the block runs."""
    return running("services.worker", ["--job", name], bench_scene.env)


def _limit(bench_scene: Scene, kind: str, events: int) -> float:
    command = [sys.executable, "-m", "clearwell.bench.limits", kind, bench_scene.stream, str(events)]
    done = subprocess.run(command, env=bench_scene.env, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise Fatal(f"The limit could not be measured: {done.stderr.strip().splitlines()[-1:]}")
    return float(json.loads(done.stdout)["events_per_second"])


def clean_all(bench_scene: Scene, events: int) -> Measurement:
    """One cleaner process, until `events` events are clean."""
    kafka, topic = bench_scene.settings.kafka, clean_topic(bench_scene.stream, bench_scene.contract.version)
    with running_job(bench_scene, cleaner_of(bench_scene)) as process:
        return watch([process], lambda: sum(admin.end_offsets(kafka, topic).values()), events)


def store_of(bench_scene: Scene, to: str) -> Destination:
    """The open destination of the scene's route to `to`."""
    route = bench_scene.contract.route(to)
    group = deliverer_group(bench_scene.stream, bench_scene.contract.version, to)
    store = open_destination(bench_scene.settings, route, bind(bench_scene.contract).schema, group)
    store.open()
    return store


def _wait_for_claims(bench_scene: Scene, store: Destination, deliverer: psutil.Process) -> None:
    """Until the deliverer has claimed every partition. Raises Fatal when it ends or takes too long."""
    topic_id = admin.topic_id(bench_scene.settings.kafka, clean_topic(bench_scene.stream, bench_scene.contract.version))
    deadline = time.monotonic() + CLAIMED_WITHIN
    while len(store.accounts(topic_id)) < PARTITIONS:
        if not deliverer.is_running() or time.monotonic() > deadline:
            raise Fatal(f"The deliverer took no partition within {CLAIMED_WITHIN:.0f} s.")
        time.sleep(LOOK)


def delivered(bench_scene: Scene, store: Destination) -> Callable[[], int]:
    """Counts the events that `store` has."""
    topic_id = admin.topic_id(bench_scene.settings.kafka, clean_topic(bench_scene.stream, bench_scene.contract.version))
    return lambda: sum(account.delivered for account in store.accounts(topic_id))


def administrator_url(settings: Settings) -> str:
    """The address of who may make databases and read files of the server: in the embedded stack our role may not."""
    if not (settings.home / embedded.SUPERUSER_PASSWORD_FILE).exists():
        return settings.postgres
    return embedded.superuser_url(settings.home, urlsplit(settings.postgres).port or 0)


def _server_side_copy(postgres: str, table: str) -> float:
    """Rows a second of COPY from a file of the server's into an empty keyed table like `table`."""
    name, copy = sql.Identifier(table), sql.Identifier(f"{table}_copy")
    try:
        with psycopg.connect(postgres, autocommit=True) as connection:
            shown = connection.execute("SHOW data_directory").fetchone()
            file = sql.Literal(f"{shown[0] if shown else ''}/{table}.bin")
            rows = connection.execute(sql.SQL("COPY {} TO {} (FORMAT binary)").format(name, file)).rowcount
            connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(copy, name))
            try:
                start = time.perf_counter()
                connection.execute(sql.SQL("COPY {} FROM {} (FORMAT binary)").format(copy, file))
                seconds = time.perf_counter() - start
            finally:
                connection.execute(sql.SQL("DROP TABLE {}").format(copy))
                connection.execute(sql.SQL("COPY (SELECT) TO {}").format(file))  # empties the file
            return rows / seconds
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigError(
            "Server-side COPY needs the rights of pg_read_server_files and pg_write_server_files: "
            "run the bench on the embedded stack."
        ) from None

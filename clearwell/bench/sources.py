"""How fast one collector process brings a source's events into Kafka, beside the bare client doing the same reads.

As in `clearwell.bench.figures`, limits are measured before and after, and the mean counts.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from clearwell.bench.figures import Say
from clearwell.bench.measure import LOOK, Measurement, running, watch
from clearwell.bench.scene import Scene, scene
from clearwell.bench.senders import VARIABLE, WARM_UP
from clearwell.bench.source_scene import connector, followed_table, free_port, slots, write_file
from clearwell.errors import ConfigError, Fatal, nearest
from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.settings import Settings

FEWEST = 1_000
"""Events of a measurement, at least."""

PATIENCE = 60.0
"""Seconds within which a collector must take requests."""


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One source; `goal` is in events a second. Of a webhook also how long a request took (ms)."""

    source: str
    events: int
    events_per_second: int
    goal: int
    limit_per_second: int
    limit: str
    ratio: float
    cpu_seconds: float
    peak_rss_mb: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    limit_p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class SourceBench:
    """One measurement: of how many events unless told otherwise, and what must be reached."""

    measure: Callable[[Settings, int, Say], SourceFigures]
    events: int
    goal: int


def bench_source(settings: Settings, kind: str, events: int | None, say: Say) -> SourceFigures:
    """Measure the source `kind`. Raises as `find_bench`, and ConfigError when `events` are too few."""
    bench = find_bench(kind)
    count = bench.events if events is None else events
    if count < FEWEST:
        raise ConfigError(f"--events must be at least {FEWEST}, not {count}: fewer say nothing.")
    return bench.measure(settings, count, say)


def find_bench(kind: str) -> SourceBench:
    """How a source is measured. Raises ConfigError, with those there are, when there is no bench for it."""
    bench = BENCHES.get(kind)
    if bench is None:
        hint = nearest(kind, list(BENCHES))
        raise ConfigError(f'There is no bench for a source "{kind}".{hint} There are: {", ".join(sorted(BENCHES))}.')
    return bench


def bench_file(settings: Settings, events: int, say: Say) -> SourceFigures:
    """An NDJSON file against reading its lines."""
    limit = "reading the lines alone"
    with scene(settings) as bench_scene:
        say(f"writing a file of {events:,} events")
        path = write_file(bench_scene, events)
        with connector(bench_scene, "file", {"path": str(path)}) as name:
            rates, work = _between_limits(bench_scene, name, ["file", str(path)], events, say)
    return _figures("file", events, work, rates, limit)


def bench_postgres_cdc(settings: Settings, events: int, say: Say) -> SourceFigures:
    """Inserted rows, 1,000 a transaction, against the replication stream thrown away."""
    limit = "the replication stream, thrown away"
    with scene(settings) as bench_scene:
        say(f"filling a table with {events:,} rows")
        slot, limit_slot = slots(bench_scene)
        config = {
            "url": "${env:CLEARWELL_POSTGRES}",
            "tables": [bench_scene.stream],
            "slot": slot,
            "publication": bench_scene.stream,
            "create": False,
            "snapshot": False,
        }
        with followed_table(bench_scene, events), connector(bench_scene, "postgres_cdc", config) as name:
            rates, work = _between_limits(
                bench_scene, name, ["postgres_cdc", limit_slot, bench_scene.stream, str(events)], events, say
            )
    return _figures("postgres_cdc", events, work, rates, limit)


def bench_webhook(settings: Settings, events: int, say: Say) -> SourceFigures:
    """Signed requests of one event each, answered once Kafka has it, against a server that answers at once."""
    with scene(settings) as bench_scene:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        env = {**bench_scene.env, VARIABLE: secret, "CLEARWELL_LISTEN": f"127.0.0.1:{free_port()}"}
        config = {"signature": {"type": "standard", "secrets": [f"${{env:{VARIABLE}}}"]}}
        limits = [_answering_at_once(env, events, say)]
        with connector(bench_scene, "webhook", config) as name:
            say("one collector process, 32 senders")
            with running("services.collector", ["--connector", name], env) as process:
                port = int(env["CLEARWELL_LISTEN"].rpartition(":")[2])
                _wait_for_door(port, f"/push/{name}")
                sent, work = _sent(env, port, f"/push/{name}", events, process)
        _require_all(bench_scene, events + WARM_UP)
        limits.append(_answering_at_once(env, events, say))
    rates = [limit["events_per_second"] for limit in limits]
    limit_p99 = sum(limit["p99_ms"] for limit in limits) / 2
    more = {"p50_ms": sent["p50_ms"], "p99_ms": sent["p99_ms"], "limit_p99_ms": round(limit_p99, 1)}
    return _figures("webhook", events, work, rates, "an aiohttp server that answers at once", **more)


def _between_limits(
    bench_scene: Scene, name: str, limit: Sequence[str], events: int, say: Say
) -> tuple[Sequence[float], Measurement]:
    """The limit before and after, and a collector that reads the connector `name`."""
    say("limit: the bare client")
    before = _limit(bench_scene, limit)
    say("one collector process")
    kafka, topic = bench_scene.settings.kafka, raw_topic(bench_scene.stream)
    env = {**bench_scene.env, "CLEARWELL_LISTEN": "127.0.0.1:0"}
    with running("services.collector", ["--connector", name], env) as process:
        work = watch([process], lambda: sum(admin.end_offsets(kafka, topic).values()), events)
    say("limit, again")
    return [before, _limit(bench_scene, limit)], work


def _limit(bench_scene: Scene, arguments: Sequence[str]) -> float:
    return _run("clearwell.bench.source_limits", arguments, bench_scene.env)["events_per_second"]


def _run(module: str, arguments: Sequence[str], env: Mapping[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, timeout=600, check=False)
    return _said(module, done.returncode, done.stdout, done.stderr)


def _said(module: str, code: int, out: str, errors: str) -> dict[str, float]:
    if code:
        raise Fatal(f"{module} failed: {' '.join(errors.strip().splitlines()[-1:])}")
    figures: dict[str, float] = json.loads(out)
    return figures


def _answering_at_once(env: Mapping[str, str], events: int, say: Say) -> dict[str, float]:
    say("limit: a server that answers at once")
    command = [sys.executable, "-m", "clearwell.bench.source_limits", "webhook"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            return _run("clearwell.bench.senders", [server.stdout.readline().strip(), "/", str(events)], env)
        finally:
            server.terminate()


def _sent(
    env: Mapping[str, str], port: int, path: str, events: int, process: psutil.Process
) -> tuple[dict[str, float], Measurement]:
    """What the senders found, and what the collector took for it, the warm-up included."""
    module = "clearwell.bench.senders"
    command = [sys.executable, "-m", module, str(port), path, str(events)]
    before, peak = process.cpu_times(), 0
    with subprocess.Popen(command, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as senders:
        while senders.poll() is None:
            peak = max(peak, process.memory_info().rss)
            time.sleep(LOOK)
        figures = _said(module, senders.returncode, *senders.communicate())
    after = process.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    return figures, Measurement(figures["events_per_second"], cpu, peak / 1e6)


def _wait_for_door(port: int, path: str) -> None:
    """Until the collector takes requests: it refuses one without a signature."""
    deadline = time.monotonic() + PATIENCE
    for status in _asked(port, path):
        if status == http.client.UNAUTHORIZED:
            return
        if time.monotonic() > deadline:
            raise Fatal(f"The collector took no requests within {PATIENCE:.0f} s.")
        time.sleep(LOOK)


def _asked(port: int, path: str) -> Iterator[int]:
    """The status of one request after the other; 0 where nobody listens."""
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", path, b"{}")
            status = connection.getresponse().status
        except OSError:
            status = 0
        finally:
            connection.close()
        yield status


def _require_all(bench_scene: Scene, count: int) -> None:
    """Every answered request is in Kafka."""
    there = sum(admin.end_offsets(bench_scene.settings.kafka, raw_topic(bench_scene.stream)).values())
    if there < count:
        raise Fatal(f"{count} requests were answered, but {there} events are in Kafka.")


def _figures(
    kind: str, events: int, work: Measurement, limits: Sequence[float], limit: str, **more: float
) -> SourceFigures:
    if not work.events_per_second:
        raise ConfigError(f"All {events} events came between two looks: measure more of them, by --events.")
    mean = sum(limits) / len(limits)
    return SourceFigures(
        kind,
        events,
        round(work.events_per_second),
        BENCHES[kind].goal,
        round(mean),
        limit,
        round(work.events_per_second / mean, 3),
        round(work.cpu_seconds, 2),
        round(work.peak_rss_mb, 1),
        **more,
    )


BENCHES: Mapping[str, SourceBench] = {
    "file": SourceBench(bench_file, 336_776, 40_000),
    "postgres_cdc": SourceBench(bench_postgres_cdc, 100_000, 10_000),
    "webhook": SourceBench(bench_webhook, 20_000, 1_500),
}

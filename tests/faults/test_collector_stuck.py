"""Sources that hang: noticed, broken off, tried again, and no hindrance to others; Kafka that is slow; rate limits."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import psutil
import pytest

from clearwell.kafka.admin import ensure_topics
from clearwell.local import state as stack_state
from clearwell.plugins import kinds, spec
from clearwell.registry import State, connectors
from clearwell.registry.connectors import Limits
from clearwell.settings import Settings
from clearwell.source import Batch, DiscoveredStream, SourceConfig, SourceEvent, SourcePosition
from services.collector.collector import Collector
from services.collector.options import Options
from tests.support.collecting import Sandbox, header, until
from tests.support.collectors import Process

Unique = Callable[[str], str]
Way = Literal["waits", "in a thread", "swallows", "heartbeats"]
SILENT = 1.0


class StuckConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How it hangs after its first ten events; tries after the first `hangs` go through."""

    way: Way
    hangs: int = 1


class StuckPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The number of the next event."""

    next: int


class Stuck:
    """Twenty events; hangs after ten."""

    name: ClassVar[str] = "stuck"
    Config: ClassVar[type[SourceConfig]] = StuckConfig
    Position: ClassVar[type[SourcePosition]] = StuckPosition
    id_fields = ()
    tries: ClassVar[int] = 0
    over: ClassVar[threading.Event] = threading.Event()

    def __init__(self, config: StuckConfig) -> None:
        self._config = config

    def check(self) -> None:
        """Nothing to check."""

    def discover(self) -> list[DiscoveredStream]:
        """Nothing on offer."""
        return []

    async def read(self, after: StuckPosition | None) -> AsyncIterator[Batch]:
        """Ten events, then a hang or not, then ten more."""
        Stuck.tries += 1
        hang = Stuck.tries <= self._config.hangs
        if after is None:
            yield ten(0)
        if hang:
            if self._config.way == "heartbeats":
                for _ in range(int(SILENT * 2.5 / 0.1)):
                    await asyncio.sleep(0.1)
                    yield [], StuckPosition(next=10)
            else:
                await self._hang()
        yield ten(10)

    async def _hang(self) -> None:
        if self._config.way == "in a thread":
            await asyncio.to_thread(self.over.wait)
        while not self.over.is_set():
            try:
                await asyncio.sleep(0.05 if self._config.way == "swallows" else 3600)
            except asyncio.CancelledError:
                if self._config.way != "swallows":
                    raise

    async def close(self) -> None:
        """Nothing is open."""


def ten(first: int) -> Batch:
    """Ten events and the position after them."""
    shape = b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}'
    return [SourceEvent(f"e{n}", shape % (n, n)) for n in range(first, first + 10)], StuckPosition(next=first + 10)


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stream of its own, with the source "stuck"."""
    known = kinds.source_class
    monkeypatch.setattr(spec, "source_class", lambda kind: Stuck if kind == "stuck" else known(kind))
    Stuck.tries, Stuck.over = 0, threading.Event()
    made = Sandbox(stack, unique("stuck"), tmp_path)
    yield made
    Stuck.over.set()
    made.close()


async def until_finished(sandbox: Sandbox, names: list[str], meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run a collector until all connectors are finished; its exit code."""
    stop = asyncio.Event()
    collector = Collector(sandbox.registry, sandbox.settings, sandbox.names, Options(silent_seconds=SILENT))
    running = asyncio.create_task(collector.run(stop))
    async with asyncio.timeout(90):
        while any(sandbox.state(name)[0].state is not State.FINISHED for name in names):
            meanwhile()
            await asyncio.sleep(0.05)
    stop.set()
    Stuck.over.set()
    return await running


@pytest.mark.slow
@pytest.mark.parametrize("way", ["waits", "in a thread", "swallows"])
def test_a_silent_source_is_told_and_tried_again(sandbox: Sandbox, unique: Unique, way: Way) -> None:
    name = sandbox.add(unique("c"), source="stuck", way=way)
    told: set[str] = set()

    def look() -> None:
        connector = sandbox.state(name)[0]
        if connector.last_error is not None:
            assert connector.state is State.RUNNING and connector.next_try_at is not None
            told.add(connector.last_error)

    asyncio.run(until_finished(sandbox, [name], look))
    assert any("has been silent for 1 s" in error for error in told), told
    assert any("could not be ended" in error for error in told) == (way == "swallows")
    assert Stuck.tries == 2
    saved = sandbox.state(name)[1]
    assert (saved.position, saved.events) == ({"next": 20}, 20)
    assert sorted(str(header(record, "ce_id")) for record in sandbox.new_records()) == sorted(
        f"e{n}" for n in range(20)
    )


@pytest.mark.slow
def test_a_source_that_gives_heartbeats_is_not_stuck(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"), source="stuck", way="heartbeats")
    assert asyncio.run(until_finished(sandbox, [name])) == 0
    assert Stuck.tries == 1


@pytest.mark.slow
@pytest.mark.parametrize("way", ["in a thread", "swallows"])
def test_hanging_ones_never_stop_another(sandbox: Sandbox, unique: Unique, way: Way) -> None:
    """Twelve hang for ever, each in threads or with runs that can't be ended; a file is read all the same."""
    ensure_topics(sandbox.settings.kafka, sandbox.stream, 1)
    for _ in range(12):
        sandbox.add(unique("bad"), source="stuck", way=way, hangs=1_000)
    path = sandbox.folder / "in.ndjson"
    path.write_bytes(b"".join(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n' % (n, n) for n in range(500)))
    good = sandbox.add(unique("good"), path=str(path), batch_events=10)
    asyncio.run(until_finished(sandbox, [good]))
    assert sandbox.state(good)[1].events == 500


@pytest.mark.slow
def test_a_rate_limit_is_kept(sandbox: Sandbox, unique: Unique) -> None:
    path = sandbox.folder / "in.ndjson"
    path.write_bytes(b"".join(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n' % (n, n) for n in range(600)))
    name = sandbox.add(unique("c"), path=str(path), batch_events=20)
    with sandbox.registry.session() as session:
        connectors.change(session, name, sandbox.state(name)[0].config, [], Limits(events_per_second=100))
    began = time.monotonic()
    assert sandbox.collect(name) == 0
    took = time.monotonic() - began
    assert took > (600 - 2 * 100 - 20) / 100, "faster than the limit and its burst allow"
    assert sandbox.state(name)[1].events == 600


@pytest.mark.slow
def test_memory_is_bounded_while_kafka_is_stopped(sandbox: Sandbox, unique: Unique) -> None:
    """SIGSTOP Kafka at a random moment of a read of 300 MB: reading stops after a few batches, and goes on after."""
    seed = int(os.environ.get("CLEARWELL_SEED", random.randrange(10**9)))
    print(f"CLEARWELL_SEED={seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    path = sandbox.folder / "in.ndjson"
    filler = "x" * 3_000
    with path.open("w") as file:
        for n in range(100_000):
            file.write(f'{{"id":"k{n}","at":"2026-01-01T00:00:00Z","n":{n},"filler":"{filler}"}}\n')
    name = sandbox.add(unique("c"), path=str(path), batch_events=500)
    found = stack_state.running(sandbox.settings.home)
    assert found is not None
    kafka = next(one.identity for one in found.processes if one.name == "kafka")
    assert kafka is not None
    process = Process(sandbox, [name])
    try:
        until(lambda: sandbox.state(name)[1].events > chance.randrange(1, 5_000), 90)
        os.kill(kafka.pid, signal.SIGSTOP)
        try:
            threading.Event().wait(2)  # what was on its way is over
            events, memory = sandbox.state(name)[1].events, psutil.Process(process.pid).memory_info().rss
            assert events < 100_000, "all was read before: give it more events"
            threading.Event().wait(5)
            assert sandbox.state(name)[1].events == events
            assert psutil.Process(process.pid).memory_info().rss - memory < 50_000_000
        finally:
            os.kill(kafka.pid, signal.SIGCONT)
        until(lambda: sandbox.state(name)[0].state is State.FINISHED, 120)
    finally:
        process.end()
    assert sandbox.state(name)[1].events == 100_000

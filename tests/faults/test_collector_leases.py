"""Several collectors: shares, takeover after SIGKILL and SIGTERM, and one that was stopped and comes back."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearwell.settings import Settings
from tests.support.collecting import Sandbox, header, until
from tests.support.collectors import Process, growing, held, shares

Unique = Callable[[str], str]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own on the test stack."""
    made = Sandbox(stack, unique("shared"), tmp_path)
    yield made
    made.close()


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Whatever a test starts is killed after it."""
    processes: list[Process] = []
    yield processes
    for one in processes:
        one.end()
        print(f"collector {one.pid}:\n{''.join(one.lines[-30:])}")  # noqa: T201 - shown when the test fails


def write(path: Path, first: int, count: int) -> None:
    """Add `count` events, numbered on from `first`."""
    with path.open("ab") as file:
        for n in range(first, first + count):
            file.write(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n' % (n, n))


@pytest.mark.slow
def test_shares_and_takeover(sandbox: Sandbox, unique: Unique, started: list[Process]) -> None:
    """The default lease: under 15 s after SIGKILL, at once after SIGTERM; a newcomer gets its share."""
    names = [growing(sandbox, unique("c"))[0] for _ in range(6)]
    usual = {"CLEARWELL_LEASE_SECONDS": "10"}
    started.append(Process(sandbox, names, **usual))
    until(lambda: shares(sandbox, names) == [6], 120)
    started.append(Process(sandbox, names, **usual))
    until(lambda: shares(sandbox, names) == [3, 3], 120)
    started[0].process.kill()
    killed = time.monotonic()
    until(lambda: held(sandbox, names) == dict.fromkeys(names, started[1].pid), 15)
    assert time.monotonic() - killed < 15
    started.append(Process(sandbox, names, **usual))
    until(lambda: shares(sandbox, names) == [3, 3], 120)
    started[1].process.terminate()
    ended = time.monotonic()
    until(lambda: held(sandbox, names) == dict.fromkeys(names, started[2].pid), 8)
    print(f"after SIGTERM {time.monotonic() - ended:.1f} s")  # noqa: T201
    assert started[1].process.wait(10) == 0


@pytest.mark.slow
def test_one_stopped_and_continued_moves_nothing(sandbox: Sandbox, unique: Unique, started: list[Process]) -> None:
    """SIGSTOP the holder at random moments until another has taken over, then let it go on: nothing lost or moved."""
    seed = int(os.environ.get("CLEARWELL_SEED", random.randrange(10**9)))
    print(f"CLEARWELL_SEED={seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    name, path = growing(sandbox, unique("c"))
    started += [Process(sandbox, [name]) for _ in range(2)]
    written = 0
    highest = -1
    for _ in range(4):
        until(lambda: name in held(sandbox, [name]), 120)
        write(path, written, 3_000)
        written += 3_000
        waited_for = time.monotonic() + chance.uniform(0, 0.5)
        until(lambda moment=waited_for: time.monotonic() > moment, 5)  # type: ignore[misc]
        holder = held(sandbox, [name]).get(name)
        if holder is None:
            continue
        os.kill(holder, signal.SIGSTOP)
        try:
            until(lambda old=holder: held(sandbox, [name]).get(name) not in (None, old), 60)  # type: ignore[misc]
            until(lambda all_of=written: sandbox.state(name)[1].events >= all_of, 120)  # type: ignore[misc]
        finally:
            os.kill(holder, signal.SIGCONT)
        position = sandbox.state(name)[1].position
        assert position is not None and position["offset"] >= highest
        highest = position["offset"]
    write(path, written, 10)
    written += 10
    until(lambda: sandbox.state(name)[1].events >= written, 120)
    connector, saved = sandbox.state(name)
    assert (connector.last_error, saved.events) == (None, written)
    assert saved.position is not None and saved.position["offset"] == path.stat().st_size
    seen = Counter(header(record, "ce_id") for record in sandbox.new_records())
    assert len(seen) == written
    print(f"{sum(seen.values()) - written} repeats")  # noqa: T201

"""SIGKILL the collector at random moments: nothing is lost, repeats keep their id, no position runs ahead."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearwell.registry import State
from clearwell.settings import Settings
from tests.support.collecting import Sandbox, header

KILLS = int(os.environ.get("CLEARWELL_KILLS", "10"))
EVENTS = 120_000


@pytest.fixture
def sandbox(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own on the test stack."""
    made = Sandbox(stack, unique("killed"), tmp_path)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_killed_at_random_moments(sandbox: Sandbox, unique: Callable[[str], str], form: str) -> None:
    seed = int(os.environ.get("CLEARWELL_SEED", random.randrange(10**9)))
    print(f"CLEARWELL_SEED={seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    path = sandbox.folder / f"in.{form}"
    starts = write(path, form)
    name = sandbox.add(unique("c"), path=str(path), batch_events=300)
    seen: Counter[str] = Counter()
    values: dict[str, Any] = {}
    interrupted = 0
    for _ in range(KILLS):
        killed_after(sandbox, name, chance.uniform(0, 0.7))
        interrupted += sandbox.state(name)[0].state is State.RUNNING
        saved = sandbox.state(name)[1]  # read before Kafka is: what it claims must be there already
        take(sandbox, seen, values)
        offset = 0 if saved.position is None else saved.position["offset"]
        claimed = [start for start in starts if start < offset]
        missing = [start for start in claimed if f"in.{form}#{start}" not in seen]
        assert not missing, "the position is ahead of what Kafka holds"
        assert saved.events == len(claimed)
    assert sandbox.collect(name) == 0
    take(sandbox, seen, values)
    assert set(seen) == {f"in.{form}#{start}" for start in starts}
    print(f"{interrupted} of {KILLS} kills in mid-read, {sum(seen.values()) - len(seen)} repeats")  # noqa: T201
    assert interrupted, "no kill came in time: give it more events"


def write(path: Path, form: str) -> list[int]:
    """Fill the file; the byte offsets where its events start."""
    head = b"id,at,n\n" if form == "csv" else b""
    shape = b"k%d,2026-01-01T00:00:00Z,%d\n" if form == "csv" else b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n'
    lines = [shape % (n % 1_000, n) for n in range(EVENTS)]
    path.write_bytes(head + b"".join(lines))
    starts, at = [], len(head)
    for line in lines:
        starts.append(at)
        at += len(line)
    return starts


def killed_after(sandbox: Sandbox, name: str, seconds: float) -> None:
    """Start a collector and kill it `seconds` after it began to read, unless it ended before."""
    process = sandbox.start("--once", "--connector", name)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "reading into" in line:
                threading.Event().wait(seconds)
                break
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def take(sandbox: Sandbox, seen: Counter[str], values: dict[str, Any]) -> None:
    """Count the new raw records by id; a repeat must be the same event, in the same partition."""
    for record in sandbox.new_records():
        event_id = header(record, "ce_id")
        assert event_id is not None
        seen[event_id] += 1
        event = (record.partition, record.key, record.value)
        assert values.setdefault(event_id, event) == event

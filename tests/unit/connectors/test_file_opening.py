"""A file is closed whenever its reading is given up: while it is being opened, between reads, when the loop ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.file.config import FileConfig
from connectors.file.opening import OpenFile, open_file
from connectors.file.read_counts import Tally
from connectors.file.stores import store_of


def handles(path: Path) -> int:
    """How many descriptors of this process are of the file."""
    return sum(descriptor.resolve() == path for descriptor in Path("/proc/self/fd").iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b'{"n":1}\n' * 100)
    return file


async def read(path: Path) -> AsyncIterator[int]:
    store = store_of(str(path), {})
    (file,) = store.find()
    async with open_file(store, file, FileConfig(path=str(path)), tally=Tally()) as opened:
        while True:
            yield len((await asyncio.to_thread(opened.piece)).events)


def test_a_loop_that_ends_at_any_moment_leaves_no_file_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seed = OpenFile.__init__, random.randrange(2**32)
    chance = random.Random(seed)

    def slow(*arguments: object, **options: object) -> None:
        original(*arguments, **options)  # type: ignore[arg-type]
        time.sleep(chance.uniform(0, 0.004))

    monkeypatch.setattr(OpenFile, "__init__", slow)

    async def give_up() -> None:
        reading = asyncio.ensure_future(anext(read(path)))
        await asyncio.wait({reading}, timeout=chance.uniform(0, 0.008))
        reading.cancel()
        if chance.random() < 0.5:
            await asyncio.wait({reading}, timeout=chance.uniform(0, 0.004))

    for _ in range(60):
        asyncio.run(give_up())  # ends all tasks that are left, and waits for its threads
    assert handles(path) == 0, f"seed {seed}"


def test_a_reader_that_is_closed_closes_its_file(path: Path) -> None:
    async def look() -> tuple[int, int]:
        batches = read(path)
        await anext(batches)
        during = handles(path)
        await batches.aclose()  # type: ignore[attr-defined]
        return during, handles(path)

    assert asyncio.run(look()) == (1, 0)

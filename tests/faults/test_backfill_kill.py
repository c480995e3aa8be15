"""A backfill killed at random moments and run again gives the files of one that was left alone."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clearwell.demo.flights import BROKEN
from tests.support.backfills import Row, backfill, rows, start
from tests.support.platform import PARTITIONS, Platform, numbered, until

pytestmark = pytest.mark.slow
KILLS = 3
CHUNK = ("--chunk", "300")


def parts(folder: Path) -> list[Path]:
    """The finished files of an unfinished run."""
    return list(folder.glob("v=1/.run=*.unfinished/part-*.parquet"))


def test_killed_and_run_again_is_the_same_as_run_once(platform: Platform, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")  # shown when this fails
    chance = random.Random(seed)
    for partition in range(PARTITIONS):  # repeats reach over the borders of chunks: what steps remember is rebuilt
        events = [*numbered(3_000), *BROKEN, *numbered(1_500, start=2_500)]
        platform.put(events, partition=partition)
    once = backfill(platform, "run", "--into", str(tmp_path / "once"), *CHUNK)
    killed, written = tmp_path / "killed", 0
    for _ in range(KILLS):
        wanted = written + chance.randint(1, 3)
        with start(platform, "run", platform.stream, "--into", str(killed), *CHUNK) as process:
            until(lambda: len(parts(killed)) >= wanted, every=0.01)  # noqa: B023 - called at once
            time.sleep(chance.uniform(0, 0.05))
        written = len(parts(killed))
        assert process.returncode == -9, "it was to be killed in the middle"
        assert not list(killed.glob("v=1/run=*")), "an unfinished run must not look finished"
    kept = {path.name: path.stat().st_mtime_ns for path in parts(killed)}
    again = backfill(platform, "run", "--into", str(killed), *CHUNK)
    folder = Path(again["folder"])
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept, "finished files are not written again"
    assert account(again) == account(once)
    assert again["manifest"]["dropped"] >= PARTITIONS * 500
    assert rows(platform, folder) == rows(platform, Path(once["folder"]))
    assert names(folder) == names(Path(once["folder"]))
    for path in folder.glob("*.parquet"):
        assert pq.read_schema(path).equals(pq.read_schema(Path(once["folder"]) / path.name), check_metadata=True)


def account(done: Row) -> Row:
    """The manifest without its times."""
    return {name: value for name, value in done["manifest"].items() if name not in ("started", "ended")}


def names(folder: Path) -> list[str]:
    """The files of a run."""
    return sorted(path.name for path in folder.iterdir())

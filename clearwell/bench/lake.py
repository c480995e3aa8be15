"""Writing a lake table beside `write_deltalake` of the same rows as one big Arrow table; no Kafka in between."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from clearwell.bench.figures import Say
from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.lake.columns import EVENT_DATE, columns_of
from clearwell.destinations.lake.destination import LakeDestination
from clearwell.destinations.lake.root import TableLocation
from clearwell.destinations.protocol import CleanBatch

FLUSH = 10_000
"""Rows a commit: what a deliverer joins under load."""

GOAL = 100_000
"""Rows a second."""

_START = datetime(2013, 1, 1, tzinfo=UTC)
_SCHEMA = CleanSchema(
    "bench",
    1,
    (
        Field("id", Type.STRING, required=True),
        Field("at", Type.TIMESTAMP, required=True),
        Field("carrier", Type.STRING),
        *(Field(f"whole{at}", Type.INT32) for at in range(8)),
        *(Field(f"real{at}", Type.FLOAT64) for at in range(8)),
        Field("note", Type.STRING),
    ),
    ("id",),
    "id",
    "at",
)


@dataclass(frozen=True, slots=True)
class LakeFigures:
    """Rows a second of 20 columns into one table of a local folder, three days of event time; `commits` of FLUSH rows.

    The limit writes columns that are there already; a deliverer is given rows and makes columns of them.
    """

    rows: int
    rows_per_second: int
    goal: int
    limit_per_second: int
    ratio: float
    commits: int
    cpu_us: float
    """CPU microseconds a row, all threads: what is left when others use the machine."""


def bench_lake(rows: int, say: Say) -> LakeFigures:
    """Write `rows` rows both ways, the limit before and after. Leaves nothing."""
    folder = Path(tempfile.mkdtemp(prefix="clearwell-bench-lake-"))
    batches = list(_batches(rows))
    whole = pa.Table.from_batches([columns_of(_SCHEMA, batch, None) for batch in batches])
    try:
        say(f"limit: write_deltalake of one Arrow table of {rows:,} rows")
        limit = _limit(folder / "limit", whole)
        say(f"{rows:,} rows in {len(batches)} commits")
        used = time.process_time()
        rate = _deliver(folder / "table", batches)
        cpu = time.process_time() - used
        say("limit, again")
        limit = (limit + _limit(folder / "again", whole)) / 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cpu_us = round(cpu / rows * 1e6, 2)
    return LakeFigures(rows, round(rate), GOAL, round(limit), round(rate / limit, 3), len(batches), cpu_us)


def _deliver(folder: Path, batches: list[CleanBatch]) -> float:
    store = LakeDestination(TableLocation(str(folder)), _SCHEMA, "bench")
    store.open()
    store.claim("clean-bench", 0, 1)
    begin = time.perf_counter()
    for batch in batches:
        store.write(batch)
    seconds = time.perf_counter() - begin
    store.close()
    return sum(len(batch.rows) for batch in batches) / seconds


def _limit(folder: Path, whole: pa.Table) -> float:
    begin = time.perf_counter()
    write_deltalake(str(folder), whole, partition_by=[EVENT_DATE])
    return float(whole.num_rows / (time.perf_counter() - begin))


def _batches(rows: int) -> Iterator[CleanBatch]:
    rng = random.Random(1)  # noqa: S311 - rows to write, no secret
    step = timedelta(days=3) / rows
    for begin in range(0, rows, FLUSH):
        end = min(begin + FLUSH, rows)
        made: list[tuple[Any, ...]] = [
            (f"e{n:08}", _START + n * step, rng.choice(("UA", "AA", "B6")), *_numbers(rng), "cw1.local-1.AAAABBBBCCCC")
            for n in range(begin, end)
        ]
        offsets, values, topics = range(begin, end), [b""] * len(made), ["raw-bench"] * len(made)
        high_watermarks = {"raw-bench": end - 1}
        yield CleanBatch("clean-bench", 0, end, 1, made, values, offsets, topics, offsets, high_watermarks)


def _numbers(rng: random.Random) -> Iterator[float]:
    yield from (rng.randrange(5_000) for _ in range(8))
    yield from (rng.random() for _ in range(8))

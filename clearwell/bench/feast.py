"""Our store beside Feast's own PostgreSQL store, in the same run: the same rows written, the same entities read."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import FeatureStore, RepoConfig
from psycopg.conninfo import conninfo_to_dict

from clearwell.bench.figures import Say
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.protocol import CleanBatch
from clearwell.features.declared_views import DeclaredView, declared_views
from clearwell.features.feast_objects import EVENT_TIMESTAMP, make_objects
from clearwell.features.feast_registry import apply_registry, plan_registry
from clearwell.features.feast_store import closing_store
from clearwell.settings import Settings

FLUSH = 5_000
KEYS = 20_000
COLUMNS = 18
READ = 100
READS = 300
WARM = 10
"""Reads before those that are timed."""


@dataclass(frozen=True, slots=True)
class FeastFigures:
    """Rows a second (20 columns, 5,000 a flush), and milliseconds of a `get_online_features` of 100 entities."""

    rows: int
    ours_per_second: int
    feast_per_second: int
    ratio: float
    ours_p50_ms: float
    ours_p99_ms: float
    feast_p50_ms: float
    feast_p99_ms: float


def bench_feast(settings: Settings, rows: int, say: Say) -> FeastFigures:
    """Write `rows` events of KEYS entities by our deliverer's destination and by Feast's `write_to_online_store`.

    Both are then read through Feast. Leaves a project of its own in the registry, without views.
    """
    name = f"bench_{time.time_ns()}"
    with tempfile.TemporaryDirectory() as folder:
        bench_settings = replace(settings, home=Path(folder), schemas=Path(folder) / "schemas", offline=folder)
        declared = _declare(bench_settings, name)
        flushes = [_rows(begin, min(begin + FLUSH, rows)) for begin in range(0, rows, FLUSH)]
        apply_registry(bench_settings, [declared], plan_registry(bench_settings, [declared], name))
        stock: Any = _stock(bench_settings, declared, Path(folder), name)
        try:
            say(f"{rows:,} rows by our destination")
            ours = rows / _deliver(bench_settings, declared, flushes)
            say(f"{rows:,} rows by Feast's write_to_online_store into its own PostgreSQL store")
            theirs = rows / _write(stock, declared, flushes)
            say(f"{READS} reads of {READ} entities through Feast from each store, in turn")
            with closing_store(bench_settings, name) as store:
                our_reads, their_reads = _read((store, stock), declared)
        finally:
            stock.teardown()
            apply_registry(bench_settings, [], plan_registry(bench_settings, [], name))
    rates = (round(ours), round(theirs), round(ours / theirs, 1))
    return FeastFigures(rows, *rates, *our_reads, *their_reads)


def _declare(settings: Settings, name: str) -> DeclaredView:
    """A contract of 18 numbers, all of them plain features."""
    numbers = [f"n{at}" for at in range(COLUMNS)]
    fields = "".join(f"  {number}: {{type: float64}}\n" for number in numbers)
    features = "".join(f"      {number}_now: {number}\n" for number in numbers)
    path = settings.schemas / name / "v1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"stream: {name}\nversion: 1\nowner: bench@example.com\nkey: id\nevent_id: id\nevent_time: at\nfields:\n"
        "  id: {type: int64, required: true}\n  at: {type: timestamp, required: true}\n"
        f"{fields}routes:\n  - to: features.{name}\n    entity: id\n    features:\n{features}"
    )
    (declared,) = declared_views(settings.schemas)
    return declared


def _rows(begin: int, end: int) -> list[tuple[Any, ...]]:
    rng, now = random.Random(begin), datetime.now(UTC) - timedelta(days=30)  # noqa: S311  rows to write, no secret
    return [
        (n * 7_919 % KEYS, now + timedelta(seconds=n), *(rng.random() for _ in range(COLUMNS)))
        for n in range(begin, end)
    ]


def _deliver(settings: Settings, declared: DeclaredView, flushes: list[list[tuple[Any, ...]]]) -> float:
    """Seconds."""
    name = declared.view.name
    store = FeaturesDestination(
        settings.postgres, declared.schema, declared.view, f"bench {name}", Folder.root(settings)
    )
    store.open()
    claim = store.claim("clean-bench", 0, 1)
    begin, at = time.perf_counter(), 0
    for rows in flushes:
        end = at + len(rows)
        offsets, topics = range(at, end), ["raw-bench"] * len(rows)
        store.write(
            CleanBatch("clean-bench", 0, end, claim.epoch, rows, [b""] * len(rows), offsets, topics, offsets, {})
        )
        at = end
    seconds = time.perf_counter() - begin
    store.close()
    return seconds


def _write(store: FeatureStore, declared: DeclaredView, flushes: list[list[tuple[Any, ...]]]) -> float:
    """Seconds, without making the frames."""
    names = ["id", EVENT_TIMESTAMP, *(feature.name for feature in declared.view.features)]
    frames = [pd.DataFrame(rows, columns=names) for rows in flushes]
    begin = time.perf_counter()
    for frame in frames:
        store.write_to_online_store(declared.view.name, frame)
    return time.perf_counter() - begin


def _read(stores: Sequence[FeatureStore], declared: DeclaredView) -> list[tuple[float, float]]:
    """Median and 99th percentile of each store, in milliseconds; in turn, so that all meet the same machine."""
    rng = random.Random(2)  # noqa: S311  keys to read, no secret
    features = [f"{declared.view.name}:{feature.name}" for feature in declared.view.features]
    took: list[list[float]] = [[] for _ in stores]
    for _ in range(WARM + READS):
        rows = [{"id": rng.randrange(KEYS)} for _ in range(READ)]
        for store, times in zip(stores, took, strict=True):
            begin = time.perf_counter()
            store.get_online_features(features, rows)
            times.append((time.perf_counter() - begin) * 1_000)
    ordered = [sorted(times[WARM:]) for times in took]
    return [(round(run_times[READS // 2], 2), round(run_times[READS * 99 // 100], 2)) for run_times in ordered]


def _stock(settings: Settings, declared: DeclaredView, folder: Path, name: str) -> FeatureStore:
    """Feast as it comes: a registry in a file, its own PostgreSQL store in the same server, the same view."""
    parts = conninfo_to_dict(settings.postgres)
    server = {"host": parts["host"], "port": int(parts.get("port") or 5432), "database": parts["dbname"]}
    user = {"user": parts["user"], "password": parts["password"], "sslmode": "disable", "db_schema": "public"}
    store = FeatureStore(
        config=RepoConfig(
            project=name,
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "postgres", **server, **user},
            offline_store={"type": "dask"},
            entity_key_serialization_version=3,
        )
    )
    made = make_objects(declared, settings)
    store.apply([*made.entities, made.push, made.view])
    return store

"""`clearwell bench`: performance on this machine, each figure beside its limit in the same run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

import click

from clearwell import settings
from clearwell.bench import figures, sources
from clearwell.bench.features import FeatureFigures, bench_features
from clearwell.bench.mongo import MongoFigures, bench_mongo
from clearwell.bench.platform import GOALS, PlatformFigures, bench_platform
from clearwell.cli.group import Group
from clearwell.cli.output import common_options, emit, home_option, json_option, plain_console, table
from clearwell.control.feature_changes import require_feast
from clearwell.demo.flights import FLIGHTS
from clearwell.settings import Settings

if TYPE_CHECKING:
    from clearwell.bench.feast import FeastFigures
    from clearwell.bench.lake import LakeFigures

Measure = Callable[[Settings, int, figures.Say], figures.Figures]


@click.group(cls=Group)
def bench() -> None:
    """Measure this machine: Clearwell's processes beside the least code that does the same reads or writes.

    Needs a running stack (`clearwell up --no-services`) that has nothing else to do. Absolute figures drift with the
    machine; the ratio is what counts.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    events = click.option("--events", default=FLIGHTS, show_default=True, help="How many flights to run through.")
    return events(home_option(json_option(command)))


@bench.command()
@_options
def cleaner(events: int, as_json: bool) -> None:
    """One cleaner process beside aiokafka getmany and a JSON decode."""
    _run(figures.bench_cleaner, events, as_json)


@bench.command()
@_options
def postgres(events: int, as_json: bool) -> None:
    """One Postgres deliverer beside server-side COPY into the keyed table."""
    _run(figures.bench_postgres, events, as_json)


@bench.command()
@click.option("--events", default=100_000, show_default=True, help="How many flights to run through.")
@common_options
def mongo(events: int, as_json: bool) -> None:
    """One MongoDB deliverer beside a bare insert_many: what a client pays for an event."""
    figures_found = bench_mongo(settings.load(), events, _say())
    emit(as_json, figures_found, lambda: table(["figure", "value"], _mongo_rows(figures_found)))


@bench.command("end-to-end")
@_options
def end_to_end(events: int, as_json: bool) -> None:
    """raw → Postgres, cleaner and deliverer together, beside one bare consume-and-upsert loop; and latency."""
    _run(figures.bench_end_to_end, events, as_json)


@bench.command()
@click.option("--rows", default=200_000, show_default=True, help="How many rows to write into each view.")
@common_options
def features(rows: int, as_json: bool) -> None:
    """The online store of a feature view, plain and windowed, beside server-side COPY into the keyed table."""
    measured = bench_features(settings.load(), rows, _say())
    emit(as_json, measured, lambda: table(["figure", "value"], _feature_rows(measured)))


@bench.command()
@click.option("--rows", type=click.IntRange(1), default=500_000, show_default=True, help="How many rows to write.")
@json_option
def lake(rows: int, as_json: bool) -> None:
    """A lake table in a local folder, beside write_deltalake of one big Arrow table; needs no stack."""
    from clearwell.bench.lake import bench_lake  # an extra

    measured = bench_lake(rows, _say())
    emit(as_json, measured, lambda: table(["figure", "value"], _lake_rows(measured)))


@bench.command()
@click.option("--rows", default=100_000, show_default=True, help="How many rows to write into each store.")
@common_options
def feast(rows: int, as_json: bool) -> None:
    """The online store of a feature view beside Feast's own PostgreSQL store: written to, and read through Feast."""
    bench_settings = settings.load()
    require_feast()
    from clearwell.bench.feast import bench_feast  # imports Feast: 3 s

    measured = bench_feast(bench_settings, rows, _say())
    emit(as_json, measured, lambda: table(["figure", "ours", "Feast's own"], _feast_rows(measured)))


@bench.command()
@click.argument("name")
@click.option("--events", type=int, help="How many events; by default what takes about ten seconds.")
@common_options
def source(name: str, events: int | None, as_json: bool) -> None:
    """One collector process reading a source (file, postgres_cdc) or being sent to (webhook), beside a bare client."""
    sources.find_bench(name)  # told before anything else is asked for
    measured = sources.bench_source(settings.load(), name, events, _say())
    emit(as_json, measured, lambda: table(["figure", "value"], _source_rows(measured)))


@bench.command()
@click.option("--streams", type=click.IntRange(1, 2_000), default=100, show_default=True, help="How many idle streams.")
@click.option("--events", type=click.IntRange(1_000), default=FLIGHTS, show_default=True, help="Of the busy stream.")
@common_options
def platform(streams: int, events: int, as_json: bool) -> None:
    """Many idle streams and a busy one on two workers and a collector: what they take, how soon they are ready.

    On a platform of its own, in a database of its own, on the running stack's servers; all of it goes at the end. With
    100 streams it takes some ten minutes.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an end like any other: what was made is removed
    measured = bench_platform(settings.load(), streams, events, _say())
    emit(as_json, measured, lambda: table(["figure", "value", "goal"], _platform_rows(measured)))


def _run(measure: Measure, events: int, as_json: bool) -> None:
    measured = measure(settings.load(), events, _say())
    emit(as_json, measured, lambda: table(["figure", "value"], _rows(measured)))


def _say() -> figures.Say:
    screen = plain_console(stderr=True)
    return lambda doing: screen.print(f"{doing} …", style="dim")


def _rows(measured: figures.Figures) -> list[list[object]]:
    rows: list[list[object]] = [
        ["events a second", f"{measured.events_per_second:,}"],
        [f"limit: {measured.limit}", f"{measured.limit_per_second:,}"],
        ["ratio (goal)", f"{measured.ratio} ({measured.goal})"],
        ["CPU seconds", measured.cpu_seconds],
        ["peak memory of a worker", f"{measured.peak_rss_mb} MB"],
    ]
    if measured.latency_p99_ms is not None:
        rows.append(["p99 raw to Postgres at 2,000/s", f"{measured.latency_p99_ms} ms"])
    return rows


def _mongo_rows(measured: MongoFigures) -> list[list[object]]:
    return [
        ["CPU microseconds an event (goal)", f"{measured.cpu_us} ({measured.goal_us})"],
        ["limit: of a bare insert_many", measured.limit_cpu_us],
        ["events a second", f"{measured.events_per_second:,}"],
        ["limit: insert_many of the same documents", f"{measured.limit_per_second:,}"],
        ["peak memory of the deliverer", f"{measured.peak_rss_mb} MB"],
    ]


def _feature_rows(measured: FeatureFigures) -> list[list[object]]:
    return [
        ["plain features, rows a second", f"{measured.plain_per_second:,}"],
        ["limit: server-side COPY into the keyed table", f"{measured.limit_per_second:,}"],
        ["ratio", measured.plain_ratio],
        ["windowed features, rows a second", f"{measured.windowed_per_second:,}"],
        ["a read of 100 entities, plain", f"{measured.read_plain_ms} ms"],
        ["a read of 100 entities, windowed", f"{measured.read_windowed_ms} ms"],
    ]


def _lake_rows(measured: LakeFigures) -> list[list[object]]:
    return [
        ["rows a second (goal)", f"{measured.rows_per_second:,} ({measured.goal:,})"],
        ["limit: write_deltalake of one Arrow table", f"{measured.limit_per_second:,}"],
        ["ratio", measured.ratio],
        ["commits", measured.commits],
        ["CPU microseconds a row", measured.cpu_us],
    ]


def _feast_rows(measured: FeastFigures) -> list[list[object]]:
    return [
        ["rows a second", f"{measured.ours_per_second:,}", f"{measured.feast_per_second:,}"],
        ["ratio (goal)", f"{measured.ratio} (5)", "1"],
        ["a read of 100 entities through Feast, median", f"{measured.ours_p50_ms} ms", f"{measured.feast_p50_ms} ms"],
        ["the same, p99", f"{measured.ours_p99_ms} ms", f"{measured.feast_p99_ms} ms"],
    ]


def _platform_rows(measured: PlatformFigures) -> list[list[object]]:
    names = [shown.name for shown in fields(measured)]
    return [[name.replace("_", " "), getattr(measured, name), GOALS.get(name, "")] for name in names]


def _source_rows(measured: sources.SourceFigures) -> list[list[object]]:
    rows: list[list[object]] = [
        ["events", f"{measured.events:,}"],
        ["events a second (goal)", f"{measured.events_per_second:,} ({measured.goal:,})"],
        [f"limit: {measured.limit}", f"{measured.limit_per_second:,}"],
        ["ratio", measured.ratio],
        ["CPU seconds", measured.cpu_seconds],
        ["peak memory of the collector", f"{measured.peak_rss_mb} MB"],
    ]
    if measured.p99_ms is not None:
        rows.append(["median, p99 of a request (goal)", f"{measured.p50_ms} ms, {measured.p99_ms} ms (100 ms)"])
        rows.append(["p99 of the limit", f"{measured.limit_p99_ms} ms"])
    return rows

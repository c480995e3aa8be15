"""`clearwell bench`: it measures what it says, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import psycopg
import pytest

from clearwell.bench.platform import GOALS, PlatformFigures
from clearwell.bench.platform_scene import platform_scene
from clearwell.bench.sources import bench_source
from clearwell.cli.main import main
from clearwell.kafka import admin
from clearwell.kafka.topics import plans
from clearwell.registry import Registry, connectors, jobs
from clearwell.settings import Settings
from tests.support.collecting import until


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "events"), [("file", 20_000), ("postgres_cdc", 20_000), ("webhook", 1_000)])
def test_a_source_is_measured_beside_its_limit(stack: Settings, kind: str, events: int) -> None:
    said: list[str] = []
    found = bench_source(stack, kind, events, said.append)
    assert (found.source, found.events) == (kind, events)
    assert 0 < found.events_per_second < found.limit_per_second
    assert found.ratio == pytest.approx(found.events_per_second / found.limit_per_second, abs=0.01)
    assert found.cpu_seconds > 0
    assert found.peak_rss_mb > 20
    if kind == "webhook":
        assert found.p50_ms is not None and found.p99_ms is not None
        assert 0 < found.p50_ms <= found.p99_ms
    assert said
    assert msgspec.json.decode(msgspec.json.encode(found))["goal"] > 0
    nothing_is_left(stack)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), [("postgres", "--events"), ("features", "--rows")])
def test_a_store_is_measured_beside_copying_on_the_server(
    stack: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(stack.schemas))
    assert main(["bench", name, option, "5000", "--home", str(stack.home), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["limit_per_second"] > 0
    nothing_is_left(stack)


def nothing_is_left(stack: Settings) -> None:
    """No connector, slot, publication or table of a bench. Not asked of Kafka, which deletes topics when it likes."""
    registry = Registry(stack.postgres)
    with registry.session() as session:
        assert not [one.name for one in connectors.list_connectors(session) if one.name.startswith("bench_")]
    registry.close()
    with psycopg.connect(stack.postgres) as connection:
        for query in (
            "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'bench_%'",
            "SELECT pubname FROM pg_publication WHERE pubname LIKE 'bench_%'",
            "SELECT tablename FROM pg_tables WHERE tablename LIKE 'bench_%'",
        ):
            assert not connection.execute(query).fetchall()


def test_a_source_without_a_bench_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "source", "mqtt"]) == 2
    assert 'no bench for a source "mqtt". There are: file, postgres_cdc, webhook.' in capsys.readouterr().err


def test_a_platform_of_its_own_leaves_nothing(stack: Settings) -> None:
    """Its topics, too: streams by the hundred would be in the way of everything that comes after."""
    with platform_scene(stack) as scene:
        (stream,) = scene.publish_small(1)
        topics = [plan.name for plan in plans(stream, 1)]
        assert len(admin.describe(stack.kafka, topics)) == len(topics)
        with scene.platform.looking() as session:
            assert len(jobs.list_jobs(session)) == 4
    with psycopg.connect(stack.postgres) as connection:
        assert not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [scene.name]).fetchall()
    until(lambda: not admin.describe(stack.kafka, topics))
    nothing_is_left(stack)


def test_the_figures_of_the_platform_have_their_names() -> None:
    names = [one.name for one in fields(PlatformFigures)]
    assert names == [
        "streams", "processes", "rss_mb", "idle_cpu_percent", "ready_seconds", "next_stream_seconds", "next_stream_mb",
        "busy_ratio", "takeover_seconds",
    ]  # fmt: skip
    assert GOALS.keys() == set(names) - {"streams", "processes"}

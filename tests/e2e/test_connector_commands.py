"""The life of a connector by its commands, on a real registry: register by flags, positions, reset, restart, remove."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearwell.errors import Fenced
from clearwell.registry import Registry, State, audit, connectors, leases, positions
from clearwell.registry.positions import Counts
from clearwell.settings import Settings
from services.collector.collector import Collector
from tests.support import kept_source
from tests.support.collecting import Sandbox, until
from tests.support.sources.postgres_cdc import PostgresCdcCase

Unique = Callable[[str], str]
Run = Callable[..., int]


@pytest.fixture
def said(run: Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `clearwell connector … --json`, which must succeed, and gives the object it prints."""

    def ask(*args: object) -> Any:
        capsys.readouterr()
        assert run("connector", *args, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture
def refused(run: Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `clearwell connector …`, which must be refused, and gives the one sentence that says why."""

    def ask(*args: object) -> str:
        capsys.readouterr()
        assert run("connector", *args) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
        return err

    return ask


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry, unique: Unique) -> str:
    """A connector of a source that keeps a slot, in the folder tmp_path/upstream; it runs, at position 7."""
    site, upstream = tmp_path / "site", tmp_path / "upstream"
    site.mkdir()
    upstream.mkdir()
    (upstream / "slot").touch()
    kept_source.install(site, monkeypatch)
    name = unique("kept")
    with registry.session() as session:
        connectors.add(session, name, "kept", "flights", {"folder": str(upstream)})
        positions.save(session, name, 0, {"n": 7}, Counts(7))
    return name


def test_flags_register_what_a_file_does(said: Callable[..., Any], spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(spec.parent)
    (spec.parent / "events.csv").write_text("id,n\na,1\n")
    spec.write_text(spec.read_text().replace(".ndjson", ".csv"))
    name = spec.read_text().split()[1]
    flags = ["--name", name, "--source", "file", "--stream", "flights", "--set", "path=events.csv"]
    assert said("register", *flags, "--dry-run")["outcome"] == "registered"
    assert said("register", spec)["outcome"] == "registered"
    assert said("register", *flags)["outcome"] == "unchanged"
    slower = [*flags, "--events-per-second", "2.5", "--set", "columns.n=int"]
    differences = ['config.columns: (not set) → {"n":"int"}', "limits.events_per_second: (not set) → 2.5"]
    assert said("register", *slower, "--dry-run")["differences"] == differences
    said("pause", name)
    assert said("register", *slower)["outcome"] == "changed"
    assert said("show", name)["state"] == "paused"
    shown = said("show", name)
    assert shown["limits"] == {"events_per_second": 2.5} and shown["config"]["columns"] == {"n": "int"}
    spec.write_text(spec.read_text() + "  columns: {n: int}\nlimits: {events_per_second: 2.5}\n")
    assert said("register", spec)["outcome"] == "unchanged"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "--name is missing"),
        (["--name", "a", "--source", "file"], "--stream is missing"),
        (["spec.yaml", "--name", "a"], "not both"),
        (["--name", "a", "--source", "file", "--stream", "flights", "--set", "path"], "KEY=VALUE"),
        (["--name", "a", "--source", "file", "--stream", "flights", "--set", "a..b=1"], "KEY=VALUE"),
        (["--name", "a", "--source", "file", "--stream", "flights", "--set", "path=[x"], "no YAML"),
        (["--name", "a", "--source", "file", "--stream", "flights", "--set", "path=x", "--set", "path=y"], "twice"),
        (["--name", "a", "--source", "file", "--stream", "flights", "--set", "a=1", "--set", "a.b=2"], "value already"),
        (["--name", "a", "--source", "file", "--stream", "flights", "--set", "paht=x"], 'Did you mean "path"'),
        (["--name", "a", "--source", "file", "--stream", "flights", "--events-per-second", "0"], "`float` > 0"),
        (
            ["--name", "a", "--source", "file", "--stream", "fligths", "--set", "path=x"],
            "discover FILE --write-contract",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_flags_are_one_clear_sentence(refused: Callable[..., str], flags: list[str], sentence: str) -> None:
    assert sentence in refused("register", *flags)


def test_a_position_is_moved_only_while_paused_and_from_the_version_seen(
    said: Callable[..., Any], refused: Callable[..., str], registry: Registry, kept: str, tmp_path: Path
) -> None:
    assert f"Run `clearwell connector pause {kept}` first." in refused("positions", "set", kept, '{"n": 5}')
    said("pause", kept)
    assert said("positions", "get", kept)["position"] == {"n": 7}
    planned = said("positions", "set", kept, '{"n": 5}', "--dry-run")
    assert (planned["meaning"], planned["new"], planned["version"]) == ("2 events are read again.", {"n": 5}, 2)
    assert said("positions", "get", kept)["version"] == 1
    (tmp_path / "position.json").write_text('{"n": 5}')
    assert said("positions", "set", kept, "--file", tmp_path / "position.json", "--version", 1)["changed"]
    assert not said("positions", "set", kept, '{"n": 5}')["changed"]
    assert "is at version 2, not 1" in refused("positions", "set", kept, '{"n": 6}', "--version", "1")
    assert "its keys are n" in refused("positions", "set", kept, '{"m": 6}')
    assert "one JSON object" in refused("positions", "set", kept, "[6")
    assert "one JSON object" in refused("positions", "set", kept, "6")
    assert "as JSON, or a file" in refused("positions", "set", kept)
    got = said("positions", "get", kept)
    assert (got["position"], got["version"], got["events"]) == ({"n": 5}, 2, 0)
    with pytest.raises(Fenced), registry.session() as session:
        positions.save(session, kept, 1, {"n": 8}, Counts(1))  # a collector that has not heard of it yet
    assert said("positions", "set", kept, "null")["new"] is None
    assert said("positions", "get", kept)["position"] is None


def test_reset_goes_to_the_beginning_and_drops_what_the_server_keeps(
    said: Callable[..., Any], refused: Callable[..., str], kept: str, tmp_path: Path
) -> None:
    slot, locked = tmp_path / "upstream" / "slot", tmp_path / "upstream" / "locked"
    assert "pause" in refused("reset", kept)
    said("pause", kept)
    planned = said("reset", kept, "--dry-run")
    assert (planned["meaning"], planned["upstream_dropped"]) == ("7 events are read again.", True)
    locked.touch()
    assert "The slot is in use" in refused("reset", kept)
    assert slot.exists() and said("positions", "get", kept)["position"] == {"n": 7}
    locked.unlink()
    said("reset", kept)
    assert not slot.exists() and said("positions", "get", kept)["position"] is None


def test_remove_drops_what_the_server_keeps_unless_told_not_to(
    said: Callable[..., Any], refused: Callable[..., str], registry: Registry, kept: str, tmp_path: Path
) -> None:
    slot, locked = tmp_path / "upstream" / "slot", tmp_path / "upstream" / "locked"
    assert f"Run `clearwell connector pause {kept}` first" in refused("remove", kept)
    said("pause", kept)
    assert said("remove", kept, "--dry-run")["upstream_dropped"] and slot.exists()
    locked.touch()
    assert "--keep-upstream removes" in refused("remove", kept)
    with registry.session() as session:
        assert connectors.find(session, kept) is not None
    assert not said("remove", kept, "--keep-upstream")["upstream_dropped"]
    assert slot.exists()
    with registry.session() as session:
        assert connectors.find(session, kept) is None
        connectors.add(session, kept, "kept", "flights", {"folder": str(tmp_path / "upstream")})
    locked.unlink()
    said("pause", kept)
    assert said("remove", kept)["upstream_dropped"] and not slot.exists()


def test_a_connector_whose_kind_is_gone_can_still_be_removed(
    said: Callable[..., Any], refused: Callable[..., str], registry: Registry, unique: Unique
) -> None:
    name = unique("orphan")
    with registry.session() as session:
        connectors.add(session, name, "gone", "flights", {})
    assert "--keep-upstream" in refused("remove", name)
    assert said("remove", name, "--keep-upstream")["removed"]


def test_what_is_sent_events_has_no_position(
    refused: Callable[..., str], registry: Registry, kept: str, unique: Unique
) -> None:
    name = unique("sent")
    with registry.session() as session:
        connectors.add(session, name, "sent", "flights", {"folder": "x"})
        connectors.set_state(session, name, State.PAUSED, "pause")
    for command in (("positions", "get", name), ("positions", "set", name, "null"), ("reset", name)):
        assert "has no position" in refused(*command)


def test_every_change_is_audited_without_positions(
    run: Run, said: Callable[..., Any], registry: Registry, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("pause",), ("reset",), ("resume",), ("restart",), ("pause",)):
        said(*command, kept, "--dry-run") if command != ("reset",) else None
        said(*command, kept)
    said("positions", "set", kept, '{"n": 471147}')
    said("remove", kept)
    told = said("audit", kept)["entries"]
    actions = ["remove", "set position", "pause", "restart", "resume", "reset", "pause", "register"]
    assert [one["action"] for one in told] == actions
    assert [(one["who"], one["face"]) for one in told[:-1]] == [("tester", "cli")] * 7
    assert all(one["at"] for one in told)
    assert "471147" not in json.dumps(told)
    assert run("connector", "audit", kept) == 0
    assert "set position" in capsys.readouterr().out
    everything = said("audit", "--limit", "8")["entries"]
    assert {one["connector"] for one in everything} == {kept}
    with registry.session() as session:
        assert len(audit.entries(session, f"connector/{kept}")) == len(actions)


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own."""
    made = Sandbox(stack, unique("restarts"), tmp_path / "sandbox")
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("down", [False, True], ids=["reading", "waiting for its next try"])
def test_restart_begins_anew_at_once(sandbox: Sandbox, kept: str, tmp_path: Path, down: bool) -> None:
    upstream = tmp_path / "upstream"
    name = sandbox.add(f"{sandbox.stream}_one", "kept", folder=str(upstream))
    if down:
        (upstream / "down").touch()

    def reads() -> int:
        return (upstream / "reads").read_text().count("read") if (upstream / "reads").exists() else 0

    def is_long_away() -> bool:
        at = sandbox.state(name)[0].next_try_at
        return at is not None and at - datetime.now(UTC) > timedelta(seconds=4)

    def restart() -> None:
        with sandbox.registry.session() as session:
            connectors.restart(session, name)

    async def scenario() -> None:
        stop = asyncio.Event()
        collecting = asyncio.create_task(Collector(sandbox.registry, sandbox.settings, name).run(stop))
        if down:
            await asyncio.to_thread(until, is_long_away)
            (upstream / "down").unlink()
        else:
            await asyncio.to_thread(until, lambda: reads() == 1)
        before = reads()
        await asyncio.to_thread(restart)
        await asyncio.to_thread(until, lambda: reads() == before + 1, 3.5)
        stop.set()
        assert await collecting == 0

    asyncio.run(scenario())


@pytest.mark.slow
def test_reset_and_remove_drop_a_replication_slot(
    sandbox: Sandbox, stack: Settings, unique: Unique, said: Callable[..., Any]
) -> None:
    case = PostgresCdcCase(stack.postgres, unique("cdc"), snapshot=True)
    name = sandbox.add(case.table, "postgres_cdc", **case.config)

    def slots() -> int:
        found = case.session.execute("select 1 from pg_replication_slots where slot_name = %s", [case.table])
        return len(found.fetchall())

    async def scenario() -> None:
        stop = asyncio.Event()
        collecting = asyncio.create_task(Collector(sandbox.registry, sandbox.settings, name).run(stop))
        for again in (False, True):  # a reset begins the account anew
            await asyncio.to_thread(until, lambda: sandbox.state(name)[1].events >= 5)
            assert slots() == 1
            await asyncio.to_thread(said, "pause", name)
            await asyncio.to_thread(until, lambda: not _is_read(case))
            if not again:
                planned = await asyncio.to_thread(said, "reset", name, "--dry-run")
                assert "All rows of the tables" in planned["meaning"] and slots() == 1
                await asyncio.to_thread(said, "reset", name)
                assert slots() == 0
                await asyncio.to_thread(said, "resume", name)
        assert (await asyncio.to_thread(said, "remove", name))["upstream_dropped"]
        stop.set()
        await collecting

    try:
        case.fill(5)
        asyncio.run(scenario())
        assert slots() == 0
    finally:
        case.close()


def _is_read(case: PostgresCdcCase) -> bool:
    query = "select 1 from pg_replication_slots where slot_name = %s and active"
    return case.session.execute(query, [case.table]).fetchone() is not None


def test_who_reads_a_connector_is_shown(
    said: Callable[..., Any], registry: Registry, kept: str, unique: Unique
) -> None:
    me = unique("collector")
    assert said("show", kept)["read_by"] is None
    with registry.session() as session:
        leases.beat(session, me, "host:1", me)
        assert leases.take(session, me, [kept], 1, 60.0).keys() == {kept}
    shown = said("show", kept)
    assert shown["read_by"] == "host:1" and shown["lease_until"]
    assert [one["read_by"] for one in said("list")["connectors"] if one["name"] == kept] == ["host:1"]
    with registry.session() as session:
        leases.leave(session, me)
    assert said("show", kept)["read_by"] is None


def test_a_paused_connector_is_resumed_not_restarted(
    said: Callable[..., Any], refused: Callable[..., str], kept: str
) -> None:
    said("pause", kept)
    assert f"`clearwell connector resume {kept}`" in refused("restart", kept)
    assert said("show", kept)["restarts"] == 0

"""`clearwell lake`: what people and programs get to see, what changes, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clearwell.cli.main import main
from clearwell.destinations.lake.destination import LakeDestination
from clearwell.destinations.lake.root import TableLocation
from clearwell.destinations.lake.tables import RETENTION
from clearwell.registry import Registry, audit
from clearwell.settings import Settings
from clearwell.testing.destination_events import SIMPLE, TOPIC, batches_of, some_events

NAME = "lake/flights_v1"


@pytest.fixture
def table(stack: Settings, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of 60 rows in six files."""
    monkeypatch.setenv("CLEARWELL_LAKE", str(tmp_path))
    monkeypatch.setenv("CLEARWELL_HOME", str(stack.home))
    monkeypatch.setenv("CLEARWELL_ACTOR", "anna")
    made = LakeDestination(TableLocation(str(tmp_path / NAME)), SIMPLE, "group")
    made.open()
    claim = made.claim(TOPIC, 0, 1)
    for batch in batches_of(some_events(1, 60, 20), claim, 10):
        made.write(batch)
    return tmp_path / NAME


def run(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> Any:
    """The JSON of a command, which must also have something to say to people."""
    changes = args[0] in ("compact", "vacuum") and "--dry-run" not in args
    if not changes:
        assert main(["lake", *args]) == code
        assert capsys.readouterr().out.strip() or code
    assert main(["lake", *args, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def files(table: Path) -> int:
    return len(list(table.rglob("*.parquet")))


def test_look(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (listed,) = run(capsys, "list")["tables"]
    assert (listed["table"], listed["rows"], listed["files"], listed["small"]) == (NAME, 60, 6, 6)
    shown = run(capsys, "show", NAME, "--rows", "2")
    assert len(shown["rows_shown"]) == 2 and shown["columns"]["number"] == "int32"
    versions = run(capsys, "history", NAME, "--limit", "6")["versions"]
    assert [one["rows"] for one in versions] == [10] * 6
    assert versions[0]["version"] == shown["version"]


def test_time_travel(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    versions = run(capsys, "history", NAME)["versions"]
    for back in range(3):
        assert run(capsys, "show", NAME, "--version", str(versions[back]["version"]))["rows"] == 60 - 10 * back
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert run(capsys, "show", NAME, "--at", now)["table"] == NAME
    assert "has the versions 0 to" in run(capsys, "show", NAME, "--version", "999", code=2)["error"]


def test_compact_and_vacuum(table: Path, registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    old = str(run(capsys, "history", NAME)["versions"][0]["version"])
    assert run(capsys, "compact", NAME, "--dry-run")["small"] == 6
    assert files(table) == 6, "a dry run changed files"
    assert run(capsys, "compact", NAME) == {"table": NAME, "dry_run": False, "removed": 6, "added": 1}
    assert run(capsys, "vacuum", NAME)["files"] == 0, "what is younger than a week was vacuumed"
    assert run(capsys, "show", NAME, "--version", old)["files"] == 6
    assert "--force" in run(capsys, "vacuum", NAME, "--older-than", "0", code=2)["error"]
    assert RETENTION.days == 7 and files(table) == 7
    assert run(capsys, "vacuum", NAME, "--older-than", "0", "--force", "--dry-run")["files"] == 6
    assert run(capsys, "vacuum", NAME, "--older-than", "0", "--force")["files"] == 6
    assert files(table) == 1
    assert run(capsys, "show", NAME)["rows"] == 60
    assert "vacuumed" in run(capsys, "show", NAME, "--version", old, code=2)["error"]
    with registry.session() as session:
        entries = audit.entries(session, f"lake/{NAME}", limit=3)
    assert [(one.who, one.face, one.action) for one in entries] == [
        ("anna", "cli", "vacuum"),
        ("anna", "cli", "vacuum"),
        ("anna", "cli", "compact"),
    ]


def test_files_of_a_writer_that_died(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orphan = table / "_event_date=2013-01-01" / "part-00000-orphan.snappy.parquet"
    orphan.write_bytes(next(table.rglob("*.parquet")).read_bytes())
    assert run(capsys, "vacuum", NAME, "--older-than", "0", "--force")["files"] == 0
    assert run(capsys, "vacuum", NAME, "--older-than", "0", "--force", "--full")["files"] == 1
    assert not orphan.exists() and files(table) == 6


@pytest.mark.parametrize("command", ["show", "history", "compact", "vacuum"])
def test_the_nearest_name(table: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert f'Did you mean "{NAME}"?' in run(capsys, command, "lake/flight_v1", code=2)["error"]


def test_an_empty_lake(tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("CLEARWELL_LAKE", str(tmp_path / "empty"))
    assert run(capsys, "list")["tables"] == []
    assert "There are: none" in run(capsys, "show", NAME, code=2)["error"]

"""`--dry-run` of `up`, `down` and `prepare`: says what the command would do, and does none of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from clearwell.cli.main import main
from clearwell.kafka import admin
from clearwell.kafka.topics import plans
from clearwell.local import state
from clearwell.registry.migrations import versions
from clearwell.settings import Settings
from tests.support.platform import flights_contract, until

pytestmark = pytest.mark.slow


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command that succeeds; gives what it prints with --json, without the data folder."""

    def run(*args: str) -> Any:
        capsys.readouterr()
        assert main([*args, "--json"]) == 0
        return {name: value for name, value in json.loads(capsys.readouterr().out).items() if name != "home"}

    return run


def test_up_on_an_empty_folder(said: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    args = ("up", "--dry-run", "--home", str(home))
    found = said(*args)
    assert found["start"][:3] == ["kafka", "postgres", "mongo"]
    assert {"collector", "worker1"} <= set(found["start"])
    assert (found["running"], found["create"]) == (False, [str(home), str(home / "keys.json")])
    assert said(*args, "--no-services")["start"] == ["kafka", "postgres", "mongo"]
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "worker1" in shown
    assert shown.endswith(
        " would be started.\nflights v1 would be published, where the registry does not have them yet.\n"
    )
    assert not home.exists()


def test_up_finds_what_is_wrong_before_it_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--dry-run", "--kafka-port", "20001", "--mongo-port", "20001", "--home", str(tmp_path)]) == 2
    assert "Port 20001 is chosen twice" in capsys.readouterr().err
    assert main(["up", "--dry-run", "--home", str(tmp_path / "a,b")]) == 2
    assert "holds a comma" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_up_and_down_of_a_running_stack(
    stack: Settings, said: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(stack.home)
    before = state.read(stack.home)
    would = said("up", "--no-services", "--dry-run", "--home", home)
    assert (would["running"], would["start"], would["create"]) == (True, [], [])
    would = said("down", "--wipe", "--dry-run", "--home", home)
    assert would == {"dry_run": True, "stop": ["kafka", "postgres", "mongo", "supervisor"], "delete": [home]}
    assert said("down", "--dry-run", "--home", home)["delete"] == []
    assert main(["down", "--wipe", "--dry-run", "--home", home]) == 0
    assert f"supervisor would be ended. {home} would be deleted" in capsys.readouterr().out
    assert before is not None and state.running(stack.home) == before


def test_down_of_nothing(said: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said("down", "--wipe", "--dry-run", "--home", str(tmp_path / "none")) == {
        "dry_run": True,
        "stop": [],
        "delete": [],
    }
    (tmp_path / "somebody's").touch()
    assert main(["down", "--wipe", "--dry-run", "--home", str(tmp_path)]) == 2
    assert "nothing was deleted" in capsys.readouterr().err


def test_prepare(
    stack: Settings,
    said: Callable[..., Any],
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream, database, home = unique("flights"), unique("prepared"), tmp_path / "home"
    contract = tmp_path / "schemas" / stream / "v1.yaml"
    contract.parent.mkdir(parents=True)
    contract.write_text(flights_contract().replace("$stream", stream))
    with psycopg.connect(stack.postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
        info = connection.info
        postgres = f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{database}"
    named = {"kafka": stack.kafka, "postgres": postgres, "mongo": stack.mongo}
    for name, value in (named | {"home": home, "schemas": tmp_path / "schemas"}).items():
        monkeypatch.setenv(f"CLEARWELL_{name.upper()}", str(value))
    monkeypatch.delenv("CLEARWELL_KEYS", raising=False)
    topics = [plan.name for plan in plans(stream, 1)]
    migrations = sorted(file.name[1:5] for file in Path(versions.__path__[0]).glob("v*.py"))
    nothing = {"dry_run": True, "keys": [], "migrations": [], "contracts": [], "topics": [], "refused": []}
    would = nothing | {"keys": [str(home / "keys.json")], "migrations": migrations, "topics": topics}
    would["contracts"] = [f"{stream} v1"]
    try:
        assert said("prepare", "--dry-run") == would
        assert said("prepare", "--dry-run") == would  # the first one has changed nothing
        assert not home.exists()
        assert main(["prepare", "--dry-run"]) == 0
        assert f"The topic raw.{stream} would be made." in capsys.readouterr().out
        assert main(["prepare"]) == 0
        assert said("prepare", "--dry-run") == nothing
        admin.delete_topics(stack.kafka, [f"dropped.{stream}"])
        until(lambda: said("prepare", "--dry-run")["topics"] == [f"dropped.{stream}"])  # brokers hear of it in time
    finally:
        admin.delete_topics(stack.kafka, topics)
        with psycopg.connect(stack.postgres, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")

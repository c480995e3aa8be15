"""Destinations by their commands: registered with references, seen, paused, set back; deliverers are real processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from clearwell.registry import Registry, destinations
from clearwell.settings import Settings
from tests.support.platform import Platform, numbered, until
from tests.support.rows import expected, in_postgres

Run = Callable[..., int]


@pytest.fixture
def said(run: Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `clearwell destination … --json`, which must succeed, and gives the object it prints."""

    def ask(*args: object) -> Any:
        capsys.readouterr()
        assert run("destination", *args, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture
def store(stack: Settings, registry: Registry, unique: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """A free name for a store, and a URL of the stack's Postgres whose password is a reference."""
    name, server = unique("far"), conninfo_to_dict(stack.postgres)
    yield (
        f"postgres.{name}",
        f"postgresql://{server['user']}:${{env:FAR_PASSWORD}}@{server['host']}:{server['port']}/{server['dbname']}",
    )
    with registry.session() as session:
        if destinations.find(session, "postgres", name) is not None:
            destinations.remove(session, "postgres", name)


def test_register(
    said: Callable[..., Any],
    run: Run,
    store: tuple[str, str],
    stack: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Said in JSON and in the clear; no secret shows."""
    to, url = store
    secret = str(conninfo_to_dict(stack.postgres)["password"])
    monkeypatch.setenv("FAR_PASSWORD", secret)
    assert said("register", to, "--set", f"url={url}", "--dry-run")["outcome"] == "registered"
    assert to not in [row["destination"] for row in said("list")["destinations"]], "a dry run changes nothing"
    assert said("add", to, "--set", f"url={url}")["outcome"] == "registered", "the former name of register"
    assert run("destination", "register", to, "--set", f"url={url}?application_name=x") == 0
    assert f"{to} is changed.\n  config.url: " in capsys.readouterr().out
    assert run("destination", "register", to, "--set", f"url={url.replace('${env:FAR_PASSWORD}', secret)}") == 2
    assert run("destination", "list") == 0
    monkeypatch.setenv("FAR_PASSWORD", "wrong-canary")
    assert run("destination", "check", to) == 2
    out, err = capsys.readouterr()
    assert "holds a password: write a reference" in err
    assert "refuses the user or the password" in err
    assert secret not in out + err and "wrong-canary" not in out + err
    assert said("remove", to)["removed"]


@pytest.mark.slow
def test_pause_and_replay(
    said: Callable[..., Any], run: Run, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was spoilt in the table is there again after a replay; the balance still adds up."""
    platform.only("postgres")
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(platform.settings.schemas))
    first, then = list(numbered(3_000)), list(numbered(1_000, start=3_000))
    platform.put(first)
    platform.start("cleaner")
    deliverer = platform.start("deliverer", "--destination", "postgres")
    platform.settle()
    of = ("postgres", "--stream", platform.stream)
    assert run("destination", "replay", *of, "--from", "earliest") == 2, "it is not paused"
    said("pause", *of)
    until(lambda: "paused" in deliverer.text(), 10)
    platform.put(then)

    def listed() -> Any:
        return next(row for row in said("list")["deliveries"] if row["stream"] == platform.stream)

    until(lambda: listed()["behind"] == len(then))
    assert listed()["state"] == "paused"
    with psycopg.connect(platform.settings.postgres) as connection:
        connection.execute(SQL("DELETE FROM {}").format(Identifier(platform.stream)))
    said("resume", *of)
    platform.settle()
    assert len(in_postgres(platform)) == len(then), "a resume goes on from its place"
    said("pause", *of)
    until(lambda: deliverer.text().count(" paused") == 2, 10)
    assert said("replay", *of, "--from", "earliest", "--dry-run")["events"] == 4_000
    assert said("replay", *of, "--from", "0:0")["events"] < 4_000
    assert said("replay", *of, "--from", "earliest")["events"] < 4_000, "one partition is back already"
    said("resume", *of)
    found = platform.settle()
    assert found.balanced, found
    assert in_postgres(platform) == expected(platform, first + then)

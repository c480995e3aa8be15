"""The account of a source as a person sees it: in `connector list` and `show`, and in `balance` (invariant 11)."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearwell.control.connector_changes import apply, plan_pause, plan_reset, plan_resume
from clearwell.control.platform import Actor, Platform
from clearwell.registry import State, connectors
from clearwell.settings import Settings
from tests.support.collecting import Sandbox, until
from tests.support.sources.hostile import install

Unique = Callable[[str], str]
Run = Callable[..., int]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    one = Sandbox(stack, unique("counted"), tmp_path)
    yield one
    one.close()


@pytest.fixture
def told(
    run: Run, sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Runs a command; its exit code and, with --json, what it printed."""
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(sandbox.settings.schemas))

    def told(*args: str) -> Any:
        capsys.readouterr()
        code = run(*args)
        said = capsys.readouterr().out
        return code, json.loads(said) if "--json" in args else said

    return told


def account(row: dict[str, Any]) -> list[int | None]:
    return [row[name] for name in ("read", "accepted", "refused", "at_source")]


def test_a_row_written_behind_the_position_is_told_of_until_it_is_read(
    sandbox: Sandbox, tmp_path: Path, unique: Unique, told: Callable[..., Any]
) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("create table sold (n integer primary key, id text, at text)")
        rows = [(n, f"k{n}", "2026-01-01T00:00:00Z") for n in range(2, 12)]
        database.executemany("insert into sold values (?, ?, ?)", rows)
    name = sandbox.add(unique("sold"), "sql", url=f"sqlite:///{path}", table="sold", cursor="n", page=3, lookback=0)
    assert sandbox.collect(name) == 0
    until(lambda: "error" not in told("balance", sandbox.stream, "--json")[1])  # of a fresh stack, whose groups load
    code, found = told("balance", sandbox.stream, "--json")
    assert (code, found["balanced"], account(found["sources"][0])) == (0, True, [10, 10, 0, 10])

    with sqlite3.connect(path) as database:
        database.execute("insert into sold values (1, 'late', '2026-01-01T00:00:00Z')")
    with sandbox.registry.session() as session:
        connectors.set_state(session, name, State.RUNNING, "resume")
    sandbox.collect(name)
    sentence = (
        "The source holds 11 items, but 10 were read: 1 are missing, such as those written behind the position; reset "
        "the connector to read all again."
    )
    _, listed = told("connector", "list", "--json")
    row = next(row for row in listed["connectors"] if row["name"] == name)
    assert (row["state"], row["last_error"], row["difference"]) == ("finished", sentence, sentence)
    assert account(row) == [10, 10, 0, 11]
    assert sentence in told("connector", "show", name)[1]
    code, said = told("balance", sandbox.stream)
    assert code == 1 and f"{name}: {sentence}" in said and "DOES NOT ADD UP" in said

    with Platform(sandbox.settings) as platform:
        for plan in (plan_pause, plan_reset, plan_resume):
            apply(platform, Actor("tester", "test"), plan(platform, name))
    assert sandbox.collect(name) == 0
    code, found = told("balance", sandbox.stream, "--json")
    assert (code, account(found["sources"][0])) == (0, [11, 11, 0, 11])


def test_a_source_that_gives_other_events_than_it_counted_is_told_of(
    sandbox: Sandbox, tmp_path: Path, unique: Unique, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    path = tmp_path / "lines"
    path.write_bytes(b'{"id":"a","at":"2026-01-01T00:00:00Z"}\n' * 9 + b"x" * 1_100_000 + b"\n")
    name = sandbox.add(unique("lines"), "hostile", path=str(path), fault="counts fewer than it reads")
    sandbox.collect(name)
    sentence = "The source read 9 items, but 10 events were made of them (9 accepted, 1 refused): 1 are too many."
    code, found = told("balance", sandbox.stream, "--json")
    assert (code, found["sources"][0]["difference"], account(found["sources"][0])) == (1, sentence, [9, 9, 1, None])
    assert sandbox.state(name)[0].last_error == sentence


def test_files_that_are_passed_over_are_a_figure_until_they_are_read(
    sandbox: Sandbox, tmp_path: Path, unique: Unique, told: Callable[..., Any]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.CSV", "b.csv.bz2", "c"):
        (folder / name).write_bytes(b"id,at\n%s,2026-01-01T00:00:00Z\n" % name.encode())
    name = sandbox.add(unique("folder"), "file", path=str(folder))
    assert sandbox.collect(name) == 0
    _, row = told("connector", "show", name, "--json")
    assert (account(row), row["passed_over"], row["difference"]) == ([1, 1, 0, None], 2, None)
    _, listed = told("connector", "list", "--json")
    assert [row["passed_over"] for row in listed["connectors"] if row["name"] == name] == [2]
    assert re.search(r"passed_over +2\n", told("connector", "show", name)[1])
    assert "passed_over" in told("connector", "list")[1]

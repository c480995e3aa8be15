"""The sql source on SQLite: cursors of any storage, nulls in keys and cursors, and a window that is too small."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, text

from clearwell.errors import ConfigError
from clearwell.source import Refusal
from connectors.sql.position import SqlPosition
from connectors.sql.source import SqlSource, SqlSourceConfig
from connectors.sql.table import Database
from tests.support.sql_reading import rows_of, whole


def sqlite_config(path: Path, *statements: str, **options: Any) -> dict[str, Any]:
    with sqlite3.connect(path) as session:
        for statement in statements:
            session.execute(statement)
    session.close()
    return {"url": f"sqlite:///{path}", "table": "t", "page": 30, **options}


FORMS: dict[str, Callable[[int], str]] = {
    "of CURRENT_TIMESTAMP": lambda n: "'2024-05-01 10:00:00'",
    "of epochs": lambda n: str(1_714_557_600 + n // 10),
    "of fractions of epochs": lambda n: repr(1_714_557_600 + n / 10),
    "of ISO 8601": lambda n: f"'2024-05-01T10:00:{n // 2:02}Z'",
    "of microseconds": lambda n: f"'2024-05-01 10:00:{n // 2:02}.{n:06}'",
    "of dates": lambda n: f"'2024-05-{n // 10 + 1:02}'",
    "of any class": lambda n: (f"{n}", f"{n}.5", f"'{n}'", f"'2024-05-{n // 10 + 1:02}'", f"x'{n:02}'")[n % 5],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("declared", ["timestamp", "datetime", "date", "text", "integer", "blob"])
def test_a_sqlite_cursor_is_compared_as_it_is_stored(tmp_path: Path, form: str, declared: str) -> None:
    columns = f"id text primary key, updated_at {declared} not null"
    values = ", ".join(f"('k{n:03}', {FORMS[form](n)})" for n in range(100))
    config = sqlite_config(
        tmp_path / "d.db", f"create table t({columns})", f"insert into t values {values}", cursor="updated_at"
    )
    events, position = whole(config)
    assert sorted(row["id"] for row in rows_of(events)) == [f"k{n:03}" for n in range(100)]
    assert len({event.id for event in events}) == 100
    assert whole(config, position)[0] == []
    with sqlite3.connect(tmp_path / "d.db") as session:
        session.execute(f"insert into t values ('late', {FORMS[form](99)})")
    session.close()
    assert [row["id"] for row in rows_of(whole(config, position)[0])] == ["late"]


def test_sqlite_values_of_any_class_are_written_as_they_are(tmp_path: Path) -> None:
    config = sqlite_config(
        tmp_path / "d.db",
        "create table t(n integer primary key, at timestamp, day date, yes boolean, cash decimal(10, 2), doc json)",
        "insert into t values (1, '2024-05-01 10:00:00', '2024-05-01', 1, 12.1, '{\"a\": 1e400}')",
        "insert into t values (2, 1714557600, 'soon', 'maybe', 'a lot', 'no json')",
        "insert into t values (3, x'00ff', 9e999, 0, 0.1, '[1]')",
        "insert into t values (4, cast(x'ff41' as text), null, null, null, null)",
        "insert into t values (5, null, null, null, 12, null)",
        mode="snapshot",
    )
    events, _ = whole(config)
    assert [event.refused for event in events] == [None, None, None, Refusal.NOT_UTF8, None]
    assert b'"doc":{"a": 1e400}' in events[0].data
    first = b'{"n":1,"at":"2024-05-01T10:00:00Z","day":"2024-05-01","yes":true,"cash":"12.1","doc":'
    assert events[0].data.startswith(first)
    assert rows_of([events[1], events[2], events[4]]) == [
        {"n": 2, "at": 1714557600, "day": "soon", "yes": "maybe", "cash": "a lot", "doc": "no json"},
        {"n": 3, "at": "AP8=", "day": "Infinity", "yes": False, "cash": "0.1", "doc": [1]},
        {"n": 5, "at": None, "day": None, "yes": None, "cash": "12", "doc": None},
    ]


def test_nulls_in_a_sqlite_cursor_come_first_and_later(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    config = sqlite_config(
        path,
        "create table t(id text primary key, at text)",
        "insert into t values ('a', null), ('b', '1')",
        cursor="at",
    )
    events, position = whole(config)
    assert sorted(row["id"] for row in rows_of(events)) == ["a", "b"]
    sqlite_config(path, "insert into t values ('0', null), ('c', '2')")
    later, position = whole(config, position)
    assert sorted(row["id"] for row in rows_of(later)) == ["0", "c"]
    sqlite_config(path, "update t set at = '3' where id = 'a'")
    assert [row["id"] for row in rows_of(whole(config, position)[0])] == ["a"]


def test_rows_whose_key_is_null_are_read_each(tmp_path: Path) -> None:
    """SQLite takes nulls in a primary key, and a view has them anywhere; a page must not end the table."""
    path = tmp_path / "d.db"
    values = "(null, 'a'), (null, 'b'), ('k', 'c'), ('l', 'd')"
    config = sqlite_config(path, "create table t(key text primary key, id text)", f"insert into t values {values}")
    for options in ({"mode": "snapshot"}, {"cursor": "id"}):
        for page in (1, 2, 9):
            events, position = whole(config | options | {"page": page})
            assert sorted(row["id"] for row in rows_of(events)) == ["a", "b", "c", "d"]
            assert len({event.id for event in events}) == 4
            assert whole(config | options, position)[0] == []


def test_a_count_that_takes_too_long_is_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sqlite_config(tmp_path / "d.db", "create table t(id integer primary key)", cursor="id")
    many = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 500000) insert into t select i from n"
    )
    sqlite_config(tmp_path / "d.db", many)
    database = Database(config["url"])
    query = select(func.count()).select_from(text("t a, t b"))
    begun = time.monotonic()
    assert database.count(query, 0.2) is None
    assert time.monotonic() - begun < 5
    assert database.count(select(func.count()).select_from(text("t")), 20) == 500_000


def test_more_rows_than_the_window_holds_are_each_read_once(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    path = tmp_path / "d.db"
    config = sqlite_config(path, "create table t(id integer primary key, at int not null)", cursor="at")
    position = None
    found: list[int] = []
    ids = list(range(400))
    chance.shuffle(ids)
    for start in range(0, 400, 40):
        values = ", ".join(f"({number}, {start // 80})" for number in ids[start : start + 40])
        sqlite_config(path, f"insert into t values {values}")
        options = {"page": chance.randrange(1, 50), "lookback": 200}
        events, position = whole(config | options, position)
        found += [row["id"] for row in rows_of(events)]
    assert sorted(found) == list(range(400)), f"seed {seed}"


def test_a_damaged_window_is_one_sentence(tmp_path: Path) -> None:
    config = sqlite_config(tmp_path / "d.db", "create table t(id integer primary key)", cursor="id")
    with pytest.raises(ConfigError, match="list of known rows is damaged"):
        whole(config, SqlPosition(after=[1], window="AAA"))


def test_the_order_of_sqlite_can_be_promised(tmp_path: Path) -> None:
    """It has one writer at a time."""
    config = sqlite_config(tmp_path / "d.db", "create table t(id integer primary key)", cursor="id")
    assert SqlSource(msgspec.convert(config, SqlSourceConfig)).warnings() == []

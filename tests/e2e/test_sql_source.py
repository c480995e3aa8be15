"""The sql source on Postgres and SQLite: every row once, whatever the page, and clear words for what can't be read."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.egress import VARIABLE
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import Settings
from clearwell.source import SourceEvent, SourcePosition, stored_position
from connectors.sql.position import SqlPosition
from connectors.sql.source import SqlSource, SqlSourceConfig
from tests.support.sources.sql import SqlCase, open_case


def read(config: dict[str, Any], after: SourcePosition | None = None) -> list[tuple[list[SourceEvent], Any]]:
    """All batches, to the end."""

    async def collect() -> list[tuple[list[SourceEvent], Any]]:
        source = SqlSource(msgspec.convert(config, SqlSourceConfig))
        try:
            async with aclosing(source.read(after)) as batches:  # type: ignore[type-var, arg-type]
                return [batch async for batch in batches]
        finally:
            await source.close()

    return asyncio.run(collect())


def events(batches: list[tuple[list[SourceEvent], Any]]) -> list[SourceEvent]:
    """The events of all batches."""
    return [event for batch, _ in batches for event in batch]


def check(config: dict[str, Any]) -> None:
    """As registering does."""
    SqlSource(msgspec.convert(config, SqlSourceConfig)).check()


@pytest.fixture
def rows(stack: Settings, tmp_path: Path, unique: Callable[[str], str]) -> Iterator[SqlCase]:
    """A table in Postgres."""
    case = open_case(stack, tmp_path, unique)
    yield case
    case.close()


class Sqlite:
    """A database in a file."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.session = sqlite3.connect(path)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.session.execute(statement)
        self.session.commit()

    def config(self, **options: Any) -> dict[str, Any]:
        return {"url": self.url, **options}


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Sqlite]:
    """An empty database."""
    made = Sqlite(tmp_path / "data.sqlite")
    yield made
    made.session.close()


@pytest.mark.parametrize(
    ("page", "count"),
    [
        pytest.param(1, 24, marks=pytest.mark.slow),
        pytest.param(3, 60, marks=pytest.mark.slow),
        (7, 60),
        (1_000, 60),
    ],
)
def test_every_row_once_and_every_position_resumes(rows: SqlCase, page: int, count: int) -> None:
    """Seven rows share a cursor. The pages read are the square of `count / page`."""
    rows.fill(count)
    config = rows.config | {"page": page}
    whole = read(config)
    assert [rows.number(event.data) for event in events(whole)] == list(range(count))
    assert len({event.id for event in events(whole)}) == count
    for index, (_, position) in enumerate(whole):
        stored = stored_position(msgspec.to_builtins(position), SqlPosition)
        assert events(whole[: index + 1]) + events(read(config, stored)) == events(whole)


def test_random_ties_over_random_pages(sqlite: Sqlite) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    sqlite.run("CREATE TABLE t (a INTEGER NOT NULL, b TEXT NOT NULL, c INTEGER NOT NULL, PRIMARY KEY (a, b))")
    keys = {(chance.randrange(9), chance.choice("abc/")) for _ in range(60)}
    for a, b in keys:
        sqlite.run(f"INSERT INTO t VALUES ({a}, '{b}', {chance.randrange(4)})")
    for options in ({"mode": "snapshot"}, {"cursor": "c"}, {"cursor": "a"}):
        found = events(read(sqlite.config(table="t", page=chance.randrange(1, 9), **options)))
        assert len(found) == len({event.id for event in found}) == len(keys)


def test_new_and_changed_rows_come_later(rows: SqlCase) -> None:
    rows.fill(20)
    first = read(rows.config)
    rows.fill(5)
    with psycopg.connect(rows.config["url"]) as session:
        session.execute(
            SQL("UPDATE {} SET at = at + interval '1 day', n = 100 WHERE id = 'k3'").format(Identifier(rows.table))
        )
    later = events(read(rows.config, first[-1][1]))
    assert [rows.number(event.data) for event in later] == [20, 21, 22, 23, 24, 100]
    assert later[-1].id not in {event.id for event in events(first)}


def test_a_watching_source_sees_new_rows_and_says_it_is_alive(rows: SqlCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sql.source.HEARTBEAT_SECONDS", 0.2)
    rows.fill(3)

    async def watch() -> list[int]:
        source = SqlSource(msgspec.convert(rows.config | {"every": 0.05}, SqlSourceConfig))
        counts = []
        async with aclosing(source.read(None)) as batches:  # type: ignore[type-var]
            async for found, position in batches:
                assert position is not None
                counts.append(len(found))
                if len(counts) == 2:
                    await asyncio.to_thread(rows.fill, 4)
                if counts[-1] == 4:
                    break
        await source.close()
        return counts

    counts = asyncio.run(asyncio.wait_for(watch(), 20))
    assert (counts[0], counts[1], counts[-1]) == (3, 0, 4)


def test_all_types_keep_all_they_say(stack: Settings, unique: Callable[[str], str]) -> None:
    table = unique("types")
    with psycopg.connect(stack.postgres, autocommit=True) as session:
        session.execute(
            SQL(
                "CREATE TABLE {} (id uuid PRIMARY KEY, big bigint, cash numeric(30,10), ratio float8, yes boolean, "
                "at timestamptz, local timestamp, day date, clock time, raw bytea, doc jsonb, tags text[], net inet, "
                "odd numeric, span interval)"
            ).format(Identifier(table))
        )
        session.execute(
            SQL(
                "INSERT INTO {} VALUES ('00000000-0000-0000-0000-000000000001', 9223372036854775807, "
                "12345678901234567890.0123456789, 'NaN', true, '2026-03-01T12:00:00.000001+02', '2026-03-01 12:00', "
                "'2026-03-01', '12:30', '\\x00ff', '{{\"a\": [1, null]}}', ARRAY['x', NULL], '10.0.0.1', 'NaN', "
                "'1 day')"
            ).format(Identifier(table))
        )
        config = {"url": stack.postgres, "table": f"public.{table}", "mode": "snapshot", "time_zone": "Europe/Berlin"}
        (event,) = events(read(config))
        streams = SqlSource(msgspec.convert(config, SqlSourceConfig)).discover()
        session.execute(SQL("DROP TABLE {}").format(Identifier(table)))
    assert event.id == "00000000-0000-0000-0000-000000000001"
    assert b'"cash":"12345678901234567890.0123456789",' in event.data
    row = msgspec.json.decode(event.data)
    assert row["big"] == 2**63 - 1
    assert (row["ratio"], row["odd"]) == ("NaN", "NaN")
    assert datetime.fromisoformat(row["at"]) == datetime(2026, 3, 1, 10, 0, 0, 1, UTC)
    assert row["local"] == "2026-03-01T12:00:00+01:00"
    assert (row["day"], row["clock"], row["raw"]) == ("2026-03-01", "12:30:00", "AP8=")
    assert (row["doc"], row["tags"], row["net"]) == ({"a": [1, None]}, ["x", None], "10.0.0.1")
    assert streams[0].fields["cash"] == "decimal"
    assert streams[0].fields["at"] == "timestamp"
    assert streams[0].fields["doc"] == "json"
    assert streams[0].sample == (row,)


def test_a_delay_stays_behind_the_databases_clock(stack: Settings, unique: Callable[[str], str]) -> None:
    table = unique("late")
    with psycopg.connect(stack.postgres, autocommit=True) as session:
        session.execute(SQL("CREATE TABLE {} (id int PRIMARY KEY, at timestamp NOT NULL)").format(Identifier(table)))
        session.execute(
            SQL(
                "INSERT INTO {} VALUES (1, now() AT TIME ZONE 'Asia/Tokyo' - interval '1 hour'), "
                "(2, now() AT TIME ZONE 'Asia/Tokyo')"
            ).format(Identifier(table))
        )
        config = {"url": stack.postgres, "table": table, "cursor": "at", "time_zone": "Asia/Tokyo"}
        assert len(events(read(config))) == 2
        assert len(events(read(config | {"delay": 600}))) == 1
        session.execute(SQL("DROP TABLE {}").format(Identifier(table)))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("id INTEGER, n INTEGER", {"mode": "snapshot"}, "no primary key: name columns"),
        ("id INTEGER NOT NULL, n INTEGER", {"mode": "snapshot", "key": ["id"]}, "not unique in t: add a unique"),
        ("id INTEGER UNIQUE, n INTEGER", {"mode": "snapshot", "key": ["id"]}, "may be null"),
        ("id INTEGER PRIMARY KEY, n REAL NOT NULL", {"cursor": "n"}, "can't be read in the order of n"),
        ("id INTEGER PRIMARY KEY, n JSON NOT NULL", {"cursor": "n"}, "can't be read in the order of n"),
        ("id INTEGER PRIMARY KEY, number INTEGER", {"cursor": "numbr"}, 'no column "numbr". Did you mean "number"'),
        ("id INTEGER PRIMARY KEY, n INTEGER", {"cursor": "n", "columns": ["nn"]}, 'no column "nn"'),
        ("id INTEGER PRIMARY KEY, n INTEGER NOT NULL", {}, '"incremental" needs a `cursor`'),
        ("id INTEGER PRIMARY KEY", {"mode": "snapshot", "every": 1.0}, "reads the table once"),
        ("id INTEGER PRIMARY KEY", {"mode": "snapshot", "time_zone": "Mars/Base"}, 'no time zone "Mars/Base"'),
    ],
)
def test_a_table_that_cannot_be_read_is_one_sentence(
    sqlite: Sqlite, table: str, options: dict[str, Any], message: str
) -> None:
    sqlite.run(f"CREATE TABLE t ({table})", "INSERT INTO t VALUES (1" + ", 1" * table.count(",") + ")")
    with pytest.raises(ConfigError) as told:
        config = sqlite.config(table="t", **options)
        check(config)
        read(config)
    assert message in str(told.value)


def test_rows_without_a_cursor_value_are_told_not_skipped(sqlite: Sqlite) -> None:
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, NULL), (2, 5)")
    with pytest.raises(ConfigError, match="Some rows of t have no value in n, by which"):
        check(sqlite.config(table="t", cursor="n"))


def test_a_view_is_read_by_the_key_that_is_given(sqlite: Sqlite) -> None:
    sqlite.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)",
        "INSERT INTO t VALUES (1, 5), (2, 5), (3, 6)",
        "CREATE VIEW v AS SELECT * FROM t",
    )
    assert len(events(read(sqlite.config(table="v", mode="snapshot", key=["id"], page=1)))) == 3
    with pytest.raises(ConfigError, match='no table "w" in the database'):
        check(sqlite.config(table="w", mode="snapshot"))


@pytest.mark.parametrize("after", [[1, 2, 3], [{"blob": "*"}], ["2026-01-01T00:00:00+00:00", "a", 3]])
def test_a_position_of_other_columns_is_refused(sqlite: Sqlite, after: list[int | str]) -> None:
    sqlite.run("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with pytest.raises(ConfigError, match="position"):
        read(sqlite.config(table="t", mode="snapshot"), SqlPosition(after=after))


def test_refused_unreachable_and_forbidden_servers(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    place = stack.postgres.rpartition("@")[2]
    cases: list[tuple[str, type[ClearwellError], str]] = [
        (f"postgresql://postgres:canary-secret@{place.rpartition('/')[0]}/nowhere_db", ConfigError, "refused us"),
        ("postgresql://postgres:canary-secret@127.0.0.1:1/db", Retryable, "did not answer"),
        ("nothing at all canary-secret", ConfigError, "no SQLAlchemy URL"),
        ("sqlite:///canary-secret.db", ConfigError, "the whole path of an SQLite file"),
        ("oracle+oracledb://u:canary-secret@127.0.0.1/db", ConfigError, "driver that is not installed"),
        ("postgresql://u:canary-secret@does-not-exist.invalid/db", Retryable, "can't be resolved"),
    ]
    for url, kind, message in cases:
        with pytest.raises(kind) as told:
            check({"url": url, "table": "t", "mode": "snapshot"})
        assert message in str(told.value)
        assert "canary-secret" not in f"{told.value} {told.value.__cause__} {SqlSourceConfig(url=url, table='t')!r}"
    monkeypatch.setenv(VARIABLE, "db.example.com")
    with pytest.raises(ConfigError, match="may not be reached"):
        check({"url": stack.postgres, "table": "t", "mode": "snapshot"})

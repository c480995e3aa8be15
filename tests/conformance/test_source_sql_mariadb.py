"""The sql source on a real MariaDB: every obligation of a source, and what is MySQL's own way with types and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any, ClassVar

import msgspec
import pymysql
import pytest

from clearwell.errors import ConfigError
from clearwell.testing import SourceSuite
from connectors.sql.source import SqlSource, SqlSourceConfig
from tests.support.mariadb_server import MariaDb
from tests.support.sources.mariadb import MariaDbCase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDb]:
    """One for all tests here; it is set up in another zone than UTC, as many are."""
    made = MariaDb()
    made.run("SET GLOBAL time_zone = '+05:45'")
    yield made
    made.close()


@pytest.fixture
def rows(server: MariaDb, unique: Callable[[str], str]) -> Iterator[MariaDbCase]:
    """A database of its own."""
    made = MariaDbCase(server, unique("rows"))
    yield made
    made.close()


class TestSqlSourceOnMariaDb(SourceSuite):
    """On a real server."""

    options: ClassVar[dict[str, Any]] = {"page": 5}

    @pytest.fixture
    def case(self, rows: MariaDbCase) -> MariaDbCase:
        """The database."""
        return rows


def read(config: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows, decoded."""

    async def collect() -> list[dict[str, Any]]:
        source = SqlSource(msgspec.convert(config, SqlSourceConfig))
        try:
            async with aclosing(source.read(None)) as batches:  # type: ignore[type-var]
                return [msgspec.json.decode(event.data) async for events, _ in batches for event in events]
        finally:
            await source.close()

    return asyncio.run(collect())


def test_all_types_keep_all_they_say(rows: MariaDbCase) -> None:
    """A TIMESTAMP is an instant, whatever the server's zone; a DATETIME is in `time_zone`."""
    rows.run(
        "CREATE TABLE t (id bigint PRIMARY KEY, u bigint unsigned, d decimal(65, 30), f double, s varchar(20), b blob,"
        " flag boolean, at timestamp(6) NOT NULL DEFAULT '2000-01-01', local datetime(6), day date, span time,"
        " kind enum('b', 'a'), doc json, bits bit(9), one year)",
        "SET time_zone = '+00:00'",
        "INSERT INTO t VALUES (9223372036854775807, 18446744073709551615,"
        " '12345678901234567890.000000000000000000000001', 1e-31, 'Zoë 🛫', x'00ff', true,"
        " '2026-03-04 05:06:07.000001', '2026-03-04 05:06:07.5', '2026-03-04', '-10:00:01',"
        """ 'a', '{"n": 1}', b'100000001', 2026)""",
    )
    config = rows.config | {"table": "t", "mode": "snapshot", "cursor": None, "time_zone": "Asia/Tokyo"}
    assert read(config) == [
        {
            "id": 2**63 - 1,
            "u": 2**64 - 1,
            "d": "12345678901234567890.000000000000000000000001000000",
            "f": 1e-31,
            "s": "Zoë 🛫",
            "b": "AP8=",
            "flag": 1,
            "at": "2026-03-04T05:06:07.000001Z",
            "local": "2026-03-04T05:06:07.500000+09:00",
            "day": "2026-03-04",
            "span": "-PT36001S",
            "kind": "a",
            "doc": '{"n": 1}',
            "bits": 257,
            "one": 2026,
        }
    ]
    (stream,) = SqlSource(msgspec.convert(config, SqlSourceConfig)).discover()
    wanted = {
        "id": "int64",
        "d": "decimal",
        "f": "float64",
        "b": "bytes",
        "bits": "int64",
        "at": "timestamp",
        "local": "timestamp",
        "day": "date",
    }
    assert {name: stream.fields[name] for name in wanted} == wanted


@pytest.mark.parametrize("kind", ["timestamp(6)", "datetime(6)"])
def test_a_delay_stays_behind_the_databases_clock(rows: MariaDbCase, kind: str) -> None:
    now = "utc_timestamp(6)" if kind.startswith("timestamp") else "timestampadd(hour, 9, utc_timestamp(6))"
    rows.run(
        f"CREATE TABLE t (id int PRIMARY KEY, at {kind} NOT NULL DEFAULT '2000-01-01')",
        "SET time_zone = '+00:00'",
        f"INSERT INTO t VALUES (1, timestampadd(hour, -1, {now})), (2, {now})",
    )
    config = rows.config | {"table": "t", "time_zone": "Asia/Tokyo"}
    assert len(read(config)) == 2
    assert [row["id"] for row in read(config | {"delay": 600})] == [1]


def test_an_enum_is_no_order(rows: MariaDbCase) -> None:
    """MySQL sorts it by place and compares it by text: pages would pass rows over."""
    rows.run("CREATE TABLE t (id int PRIMARY KEY, level enum('low', 'high') NOT NULL)")
    source = SqlSource(msgspec.convert(rows.config | {"table": "t", "cursor": "level"}, SqlSourceConfig))
    with pytest.raises(ConfigError, match="can't be read in the order of level"):
        source.check()


def test_keys_that_are_texts_follow_the_databases_order(rows: MariaDbCase) -> None:
    """Whatever its collation thinks of case, accents and blanks: each row once, page by page."""
    names = ["a", "B", "Z", "é", "e1", "_", "10", "9", "ß", "🛫", "a b"]
    rows.run("CREATE TABLE t (name varchar(20) PRIMARY KEY) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    rows.run("INSERT INTO t VALUES " + ", ".join(f"('{name}')" for name in names))
    config = rows.config | {"table": "t", "mode": "snapshot", "cursor": None, "page": 1}
    assert sorted(row["name"] for row in read(config)) == sorted(names)


def test_zero_dates_are_values_and_places_like_others(rows: MariaDbCase) -> None:
    """As the cursor first, last and alone; and a date with the month 0."""
    times = ["0000-00-00 00:00:00", "0000-00-00 00:00:00", "2024-01-01 00:00:00.500000", "2024-00-00 00:00:00"]
    rows.run(
        "SET sql_mode = ''",
        "CREATE TABLE t (id int PRIMARY KEY, at datetime(6) NOT NULL, day date NOT NULL)",
        f"INSERT INTO t VALUES {', '.join(f'''({n}, '{at}', '{at[:10]}')''' for n, at in enumerate(times))}",
    )
    for page in (1, 2, 10):
        found = read(rows.config | {"table": "t", "cursor": "at", "page": page})
        assert [row["id"] for row in found] == [0, 1, 3, 2]
        found = read(rows.config | {"table": "t", "cursor": "day", "page": page})
        assert [row["id"] for row in found] == [0, 1, 3, 2]
    assert (found[0]["at"], found[0]["day"]) == ("0000-00-00 00:00:00.000000", "0000-00-00")
    assert found[3]["at"] == "2024-01-01T00:00:00.500000Z"


def test_a_transaction_that_commits_late_is_looked_back_for(rows: MariaDbCase, server: MariaDb) -> None:
    """MySQL does not tell: the last rows are read again, and registering says how many."""
    rows.run("CREATE TABLE t (n int AUTO_INCREMENT PRIMARY KEY, id varchar(9))", "INSERT INTO t (id) VALUES ('first')")
    source = SqlSource(msgspec.convert(rows.config | {"table": "t", "cursor": "n", "every": 0.05}, SqlSourceConfig))
    assert "only the last 500 rows are looked at again" in source.warnings()[0]

    async def scene() -> list[str]:
        found: list[str] = []
        database = rows.config["url"].rpartition("/")[2]
        late: Any = pymysql.connect(host="127.0.0.1", port=server.port, user="root", database=database)
        late.cursor().execute("INSERT INTO t (id) VALUES ('late')")
        await asyncio.to_thread(rows.run, "INSERT INTO t (id) VALUES ('soon')")
        async with asyncio.timeout(20), aclosing(source.read(None)) as batches:  # type: ignore[type-var]
            async for events, _ in batches:
                found += [msgspec.json.decode(event.data)["id"] for event in events]
                if found[-1:] == ["soon"]:
                    await asyncio.to_thread(late.commit)
                if "late" in found:
                    break
        late.close()
        await source.close()
        return found

    assert asyncio.run(scene()) == ["first", "soon", "late"]


def test_labels_and_sets_are_what_the_server_says(rows: MariaDbCase) -> None:
    """Also the empty text that stands for a wrong label, and a set in the order of its declaration."""
    rows.run(
        "SET sql_mode = ''",
        "CREATE TABLE t (id int PRIMARY KEY, level enum('low', 'high'), tags set('b', 'a', 'c'))",
        "INSERT INTO t VALUES (1, 'none such', 'a,b'), (2, 'high', ''), (3, NULL, NULL)",
    )
    found = read(rows.config | {"table": "t", "mode": "snapshot", "cursor": None})
    assert [(row["level"], row["tags"]) for row in found] == [("", "b,a"), ("high", ""), (None, None)]

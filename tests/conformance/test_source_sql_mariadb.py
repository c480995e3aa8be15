"""The sql source on a real MariaDB: every obligation of a source, and what is MySQL's own way with types and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any, ClassVar

import msgspec
import pytest

from clearwell.errors import ConfigError
from clearwell.testing import SourceSuite
from connectors.sql.source import SqlConfig, SqlSource
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
        source = SqlSource(msgspec.convert(config, SqlConfig))
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
    (stream,) = SqlSource(msgspec.convert(config, SqlConfig)).discover()
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
    source = SqlSource(msgspec.convert(rows.config | {"table": "t", "cursor": "level"}, SqlConfig))
    with pytest.raises(ConfigError, match="can't be read in the order of level"):
        source.check()


def test_keys_that_are_texts_follow_the_databases_order(rows: MariaDbCase) -> None:
    """Whatever its collation thinks of case, accents and blanks: each row once, page by page."""
    names = ["a", "B", "Z", "é", "e1", "_", "10", "9", "ß", "🛫", "a b"]
    rows.run("CREATE TABLE t (name varchar(20) PRIMARY KEY) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    rows.run("INSERT INTO t VALUES " + ", ".join(f"('{name}')" for name in names))
    config = rows.config | {"table": "t", "mode": "snapshot", "cursor": None, "page": 1}
    assert sorted(row["name"] for row in read(config)) == sorted(names)

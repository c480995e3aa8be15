"""`sql` on a real MariaDB and on SQLite, each by its own upsert and by the one that any database can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.protocol import Destination, RowReason, RowsRefused
from clearwell.destinations.sql.destination import SqlConfig, SqlDestination
from clearwell.errors import ConfigError, Retryable
from clearwell.testing.destination_cases import Opener
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of
from clearwell.testing.destination_schemas import ALL, EXTREMES
from clearwell.testing.destinations import DestinationSuite
from tests.support.mariadb_server import PASSWORD, MariaDb

TABLE = "events"


@dataclass
class SqlCase:
    """One table; `upsert` is the dialect whose upsert is taken."""

    url: str
    upsert: str | None = None
    denied: str | None = None
    secrets: Sequence[str] = (PASSWORD, "canary-wrong", "canary-host")

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        return SqlDestination(SqlConfig(url=self.url), schema, TABLE, group, self.upsert)

    def rows(self) -> list[dict[str, Any]]:
        engine = create_engine(self.url.replace("mysql:", "mysql+pymysql:"), poolclass=NullPool)
        with engine.connect() as connection:
            if not inspect(connection).has_table(TABLE):
                return []
            found = connection.execute(text(f"SELECT * FROM {TABLE} ORDER BY 1")).mappings().all()
        return [{name: value for name, value in row.items() if name != "_delivered_at"} for row in found]

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        if not self.url.startswith("mysql"):
            return {"a number beyond 64 bits": lambda row: (*row[:2], 2**70, row[3])}
        return {
            "a number beyond int32": lambda row: (*row[:2], 2**40, row[3]),
            "a key that is too long": lambda row: ("k" * 300, *row[1:]),
        }

    def broken(self) -> Mapping[str, Callable[[], Destination]]:
        def at(url: str) -> Callable[[], Destination]:
            return lambda: SqlDestination(SqlConfig(url=url), SIMPLE, TABLE, "broken")

        if not self.url.startswith("mysql"):
            return {
                "no such folder": at("sqlite:////canary-host/nowhere/x.db"),
                "no database": at(f"sqlite:///{__file__}"),
                "a relative path": at("sqlite:///canary-host.db"),
                "no URL": at("canary-wrong"),
            }
        server, _, database = self.url.rpartition("/")
        return {
            "a wrong password": at(self.url.replace(PASSWORD, "canary-wrong")),
            "no such database": at(f"{server}/nowhere"),
            "no server": at(f"mysql://writer:{PASSWORD}@127.0.0.1:1/{database}"),
            "no rights": at(str(self.denied)),
            "no TLS there": at(f"{self.url}?ssl_ca=/etc/ssl/certs/ca-certificates.crt&ssl_check_hostname=true"),
            "no such driver": at(f"nosql://writer:{PASSWORD}@host/x"),
        }


SHORT = [row | {"id": row["id"][:200]} for row in EXTREMES]


class Sql(DestinationSuite):
    """What the databases under test share."""

    cannot = {"test_names_that_differ_in_case": "columns that differ in case alone are one to MySQL and SQLite"}

    def narrowed(self, field: Field, value: Any) -> Any:
        """As the bare drivers give it."""
        if isinstance(value, datetime) and field.type is Type.TIMESTAMP:
            return self.time(value.astimezone(UTC).replace(tzinfo=None))
        if field.type in (Type.JSON, Type.LIST) and value is not None:
            return Json(value)
        return int(value) if isinstance(value, bool) else value

    def time(self, value: datetime) -> Any:
        return value

    def test_types_beside_a_short_key(self, case: Any, opened: Opener) -> None:
        """The extremes again, with keys that every database takes."""
        self._round_trip(case, opened, ALL, SHORT)

    def test_a_unique_index_of_the_user(self, case: SqlCase, opened: Opener) -> None:
        """It refuses the row, and no other row is changed."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        first = CleanEvent("a", START, 1, raw_offset=0)
        destination.write(batch_of([first], claim, 1))
        engine = create_engine(case.url.replace("mysql:", "mysql+pymysql:"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE UNIQUE INDEX one_number ON {TABLE} (number)"))
        with pytest.raises(RowsRefused) as refused:
            destination.write(batch_of([CleanEvent("c", START, 5, 1), CleanEvent("b", START, 1, 2)], claim, 3))
        assert refused.value.reason in (RowReason.NOT_UNIQUE, RowReason.CONSTRAINT)
        self.require(case, destination, [first])

    def test_a_column_dropped_under_us(self, case: SqlCase, opened: Opener) -> None:
        """Ends the deliverer in one sentence; it comes back when the deliverer starts again."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        engine = create_engine(case.url.replace("mysql:", "mysql+pymysql:"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {TABLE} DROP COLUMN number"))
        event = CleanEvent("a", START, 1, raw_offset=0)
        with pytest.raises(ConfigError, match="not as Clearwell made it"):
            destination.write(batch_of([event], claim, 1))
        opened().write(batch_of([event], claim, 1))
        assert [row["number"] for row in case.rows()] == [1]

    def test_a_table_of_somebody_else(self, case: SqlCase, opened: Opener) -> None:
        engine = create_engine(case.url.replace("mysql:", "mysql+pymysql:"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY)"))
        with pytest.raises(ConfigError, match="did not make it"):
            opened()


class Json(str):
    """JSON of the value it is equal to."""

    def __new__(cls, value: Any) -> Json:
        made = super().__new__(cls)
        made.value = json.loads(json.dumps(value, default=_plain))
        return made

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(other) == self.value

    __hash__ = str.__hash__


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


class TestSqlite(Sql):
    """A file."""

    upsert: str | None = None

    @pytest.fixture
    def case(self, tmp_path: Path) -> SqlCase:
        return SqlCase(f"sqlite:///{tmp_path}/events.db", self.upsert)

    def narrowed(self, field: Field, value: Any) -> Any:
        if isinstance(value, Decimal):
            return format(value, "f")
        return (
            value.isoformat() if isinstance(value, date) and field.type is Type.DATE else super().narrowed(field, value)
        )

    def time(self, value: datetime) -> Any:
        return value.isoformat(" ", "microseconds")


@pytest.mark.slow
class TestSqliteAsAnyDatabase(TestSqlite):
    """Read, compare, write."""

    upsert = "any"


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    one = MariaDb()
    yield one
    one.close()


@pytest.mark.slow
class TestMariaDb(Sql):
    """The server of Debian."""

    upsert: str | None = None
    cannot = Sql.cannot | {"test_every_type_round_trips": "a key of 10,000 characters does not fit an index of InnoDB"}

    @pytest.fixture
    def case(self, mariadb: MariaDb, unique: Callable[[str], str]) -> SqlCase:
        name = unique("db")
        mariadb.run(
            f"CREATE DATABASE {name}",
            f"CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT SELECT ON {name}.* TO reader@'%'",
        )
        return SqlCase(mariadb.url(name), self.upsert, mariadb.url(name, "reader"))

    def test_spaces_and_capitals_in_keys(self, case: SqlCase, opened: Opener) -> None:
        """Four keys, which the usual collations take for one."""
        events = [CleanEvent(key, START, i, raw_offset=i) for i, key in enumerate(("a", "A", "a ", "ä"))]
        destination = opened()
        self.deliver(destination, events)
        self.require(case, destination, events)

    def test_a_row_larger_than_a_packet(self, case: SqlCase, opened: Opener) -> None:
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        event = CleanEvent("a", START, 1, raw_offset=0)
        with pytest.raises(RowsRefused) as refused:
            destination.write(batch_of([event], claim, 1, rows=[(*event.row[:3], "x" * 5_000_000)]))
        assert refused.value.reason is RowReason.TOO_LARGE
        destination.write(batch_of([event], claim, 1))
        self.require(case, destination, [event])

    def test_a_server_that_goes_away(self, case: SqlCase, opened: Opener, mariadb: MariaDb) -> None:
        """Retryable while it is gone; then the same batch goes in, once."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("b", START, 1, raw_offset=1)]
        destination.write(batch_of(events[:1], claim, 1))
        mariadb.stop()
        with pytest.raises(Retryable):
            destination.write(batch_of(events[1:], claim, 2))
        mariadb.start()
        destination.write(batch_of(events[1:], replace(claim, high_watermarks={"raw-a": 0}), 2))
        self.require(case, destination, events)


@pytest.mark.slow
class TestMariaDbAsAnyDatabase(TestMariaDb):
    """Read, compare, write."""

    upsert = "any"

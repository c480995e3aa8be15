"""A table that others have changed: one sentence that says what to do, not a dead letter a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.destinations.sql.destination import SqlConfig, SqlDestination
from clearwell.destinations.sql.errors import translate
from clearwell.errors import ConfigError
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, batch_of

EVENTS = [CleanEvent(f"k{i}", START, i, raw_offset=i) for i in range(300)]


class Table:
    """A destination in an SQLite file, claimed, and SQL in the same file."""

    def __init__(self, path: Path) -> None:
        url = f"sqlite:///{path}/x.db"
        self.destination = SqlDestination(SqlConfig(url=url), SIMPLE, "events", "group")
        self.destination.open()
        self.batch = batch_of(EVENTS, self.destination.claim(TOPIC, 0, 1), len(EVENTS))
        self._engine = create_engine(url, poolclass=NullPool)

    def sql(self, statement: str) -> None:
        self.destination.close()
        with self._engine.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    yield made
    made.destination.close()


def test_a_column_that_must_not_be_null_is_about_the_table(table: Table) -> None:
    table.sql("DROP TABLE events")
    table.sql(
        "CREATE TABLE events (id TEXT PRIMARY KEY, at TEXT, number INTEGER, tail TEXT, _raw_topic TEXT, "
        "_raw_partition INTEGER, _raw_offset INTEGER, _delivered_at TEXT, checked_by TEXT NOT NULL)"
    )
    with pytest.raises(ConfigError, match=r'column "checked_by" of the table "events" must not be null.*give it a def'):
        table.destination.write(table.batch)


def test_a_field_of_ours_that_must_not_be_null_is_about_the_row(table: Table) -> None:
    table.sql("DROP TABLE events")
    table.sql(
        "CREATE TABLE events (id TEXT PRIMARY KEY, at TEXT, number INTEGER, tail TEXT, _raw_topic TEXT, "
        "_raw_partition INTEGER, _raw_offset INTEGER, _delivered_at TEXT, CHECK (number <> 7))"
    )
    with pytest.raises(RowsRefused) as told:
        table.destination.write(table.batch)
    assert told.value.reason is RowReason.CONSTRAINT


def test_a_trigger_of_the_users_is_about_the_row(table: Table) -> None:
    table.sql(
        "CREATE TRIGGER picky BEFORE INSERT ON events WHEN NEW.number = 7 BEGIN SELECT RAISE(ABORT, 'canary'); END"
    )
    with pytest.raises(RowsRefused) as told:
        table.destination.write(table.batch)
    assert told.value.reason is RowReason.CONSTRAINT and "canary" not in str(told.value)


@pytest.mark.parametrize("number", [1644, 1643, 31_000])
def test_what_a_trigger_of_mysql_signals_is_about_the_row(number: int) -> None:
    from pymysql.err import OperationalError
    from sqlalchemy.exc import DBAPIError

    error = DBAPIError.instance("x", {}, OperationalError(number, "canary"), Exception)
    assert isinstance(translate(error, "The database", "write"), RowsRefused)  # type: ignore[arg-type]


def test_a_table_that_is_gone_is_seen(table: Table) -> None:
    table.destination.write(table.batch)
    assert table.destination.is_there()
    table.sql("DROP TABLE events")
    assert not table.destination.is_there()
    assert sum(one.delivered for one in table.destination.accounts(TOPIC)) == 300

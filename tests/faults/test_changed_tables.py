"""Tables that somebody changes under a deliverer: one sentence that `destination list` shows, nothing silently less."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.errors import ConfigError
from clearwell.kafka import names
from clearwell.registry import Registry, deliveries
from clearwell.registry.jobs import JobHealth, JobState
from tests.support.platform import Platform, Service, until
from tests.support.refusing import CONTRACT, accounts_of, letters

pytestmark = pytest.mark.slow

RAW = "A" * 22


@pytest.fixture
def platform(platform_of: Callable[[str], Platform]) -> Platform:
    return platform_of(CONTRACT)


def deliver(platform: Platform, start: int, count: int) -> None:
    events = [{"id": f"e{n}", "at": "2026-01-01T00:00:00Z", "amount": n} for n in range(start, start + count)]
    records = [
        (
            json.dumps(event).encode(),
            [(names.RAW_TOPIC_ID, RAW.encode()), (names.RAW_OFFSET, b"%d" % (start + place))],
            0,
        )
        for place, event in enumerate(events)
    ]
    platform.append(names.clean_topic(platform.stream, 1), records)


def deliverer(platform: Platform) -> Service:
    return platform.start("deliverer", "--destination", "postgres")


def sql(platform: Platform, statement: str) -> None:
    parts: dict[str, Any] = {"table": Identifier(platform.stream), "function": Identifier(f"check_{platform.stream}")}
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session:
        session.execute(SQL(statement).format(**parts))


def health(platform: Platform) -> JobHealth:
    """As `destination list` shows it."""
    registry = Registry(platform.settings.postgres)
    with registry.session() as session:
        found = deliveries.find(session, names.deliverer_group(platform.stream, 1, "postgres"))
    registry.close()
    assert found is not None
    return found.health


def test_a_trigger_a_foreign_column_and_a_dropped_table(platform: Platform) -> None:
    """One after the other on one stream, since starting a deliverer takes seconds."""
    service = deliverer(platform)
    deliver(platform, 0, 100)
    until(lambda: accounts_of(platform, "postgres").next_offset == 100, within=120)

    sql(platform, "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.amount = 150 THEN "
        "RAISE EXCEPTION 'no' USING ERRCODE = 'ABC01'; END IF; RETURN new; END $$")  # fmt: skip
    sql(platform, "CREATE TRIGGER own BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()")
    deliver(platform, 100, 100)
    until(lambda: accounts_of(platform, "postgres").next_offset == 200, within=60)
    found = accounts_of(platform, "postgres")
    assert (found.delivered, found.refused) == (199, 1)
    ((_, value),) = letters(platform)
    assert json.loads(value)["id"] == "e150"

    sql(platform, "ALTER TABLE {table} ADD COLUMN checked_by text")
    sql(platform, "UPDATE {table} SET checked_by = ''")
    sql(platform, "ALTER TABLE {table} ALTER COLUMN checked_by SET NOT NULL")
    deliver(platform, 200, 300)
    assert service.ended(60) == ConfigError.exit_code
    told = health(platform)
    assert told.state is JobState.FAILING and '"checked_by"' in str(told.last_error)
    assert len(letters(platform)) == 1, "rows became dead letters for what is wrong with the table"
    assert accounts_of(platform, "postgres").next_offset == 200

    sql(platform, "DROP TABLE {table}")
    assert deliverer(platform).ended(120) == ConfigError.exit_code
    told = health(platform)
    assert told.state is JobState.FAILING and "is gone, and with it 199 events" in str(told.last_error)
    assert accounts_of(platform, "postgres").next_offset == 200

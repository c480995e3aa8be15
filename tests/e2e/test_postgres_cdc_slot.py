"""What `postgres_cdc` keeps at its server: the slot's life, rights, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.testing import reading
from connectors.postgres_cdc.read import PostgresCdcPosition
from tests.support.cdc_database import Database
from tests.support.collecting import until

pytestmark = pytest.mark.slow


def test_the_slot_moves_when_events_are_durable_and_not_before(database: Database) -> None:
    """Invariant 1: what is read is not confirmed; what is acknowledged is, also when the reading ends at once."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    start = database.begin()
    before = database.confirmed()
    database.run("INSERT INTO TABLE_ SELECT generate_series(1, 100)")
    assert len(database.changes(start, 100)) == 100
    assert database.confirmed() == before

    batch = reading.run(reading.take_and_acknowledge(database.source(), start))
    assert batch is not None and isinstance(batch[1], PostgresCdcPosition)
    until(lambda: database.confirmed() == batch[1].lsn)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="has given up the changes"):
        database.changes(start, 1)


def test_an_idle_source_lets_the_server_forget_what_others_wrote(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions move on with the server's log, though none of its changes are ours."""
    monkeypatch.setattr("connectors.postgres_cdc.read.HEARTBEAT_SECONDS", 0.4)
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    start = database.begin()
    database.run("SELECT pg_logical_emit_message(false, 'other', repeat('x', 1000), true)")
    wanted = database.run("SELECT pg_current_wal_flush_lsn()::text")[0][0]
    passed = lambda found: _number(found[-1][1].lsn) >= _number(wanted)  # noqa: E731
    assert reading.events_of(reading.run(reading.take(database.source(), start, passed))) == []


def _number(lsn: str) -> int:
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


@pytest.mark.slow
def test_the_server_keeps_the_connection_while_nobody_takes(database: Database) -> None:
    """Backpressure for longer than wal_sender_timeout: reading goes on as if nothing had been."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, big text)")
    start = database.begin()
    database.run("INSERT INTO TABLE_ SELECT n, repeat('x', 2000) FROM generate_series(1, 20000) n")
    url = database.dsn + "?options=-c%20wal_sender_timeout%3D7s"

    async def slowly() -> int:
        source = database.source(url=url, batch_events=100)
        batches: Any = source.read(start)
        count = len((await anext(batches))[0])
        await asyncio.sleep(12)
        async for events, _ in batches:
            count += len(events)
            if count >= 20_000:
                break
        await batches.aclose()
        return count

    assert reading.run(slowly(), 60) == 20_000


def test_a_dropped_slot_is_told(database: Database) -> None:
    """Before reading and while reading: what is lost and what to do."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    start = database.begin()

    async def dropped_while_reading() -> ClearwellError:
        source = database.source()
        batches: Any = source.read(start)
        reader = asyncio.ensure_future(anext(batches))
        active = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'TABLE_' AND active"
        await asyncio.to_thread(until, lambda: bool(database.run(active)))
        database.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'TABLE_'")
        with pytest.raises(ClearwellError) as told:
            await reader
        await batches.aclose()
        return told.value

    assert isinstance(reading.run(dropped_while_reading()), Retryable)
    until(lambda: not database.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'TABLE_' AND active"))
    database.source().dispose()
    with pytest.raises(ConfigError, match=r"was dropped: changes after .* can't be read. Reset the connector"):
        database.changes(start, 1)


def test_a_dropped_publication_is_told(database: Database) -> None:
    """PostgreSQL 18 would go on without its tables: changes must not be passed over in silence."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    start = database.begin()

    async def dropped_while_reading() -> None:
        source = database.source()
        batches: Any = source.read(start)
        database.run("INSERT INTO TABLE_ VALUES (1)")
        assert len((await anext(batches))[0]) == 1
        database.run("DROP PUBLICATION TABLE_")
        database.run("INSERT INTO TABLE_ VALUES (2)")
        try:
            with pytest.raises(ConfigError, match="publication was dropped"):
                while not (await anext(batches))[0]:
                    pass
        finally:
            await batches.aclose()

    reading.run(dropped_while_reading())
    with pytest.raises(ConfigError, match="if it was dropped, changes are lost"):
        database.changes(start, 1)


def test_dispose_drops_what_we_made_and_nothing_else(database: Database) -> None:
    """Slot and publication, the latter only when the first read made it; twice is harmless."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    publications = "SELECT 1 FROM pg_publication WHERE pubname = 'TABLE_'"
    database.begin()
    assert database.run(publications)
    database.source().dispose()
    database.source().dispose()
    assert not database.run(publications)
    assert not database.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'TABLE_'")
    database.run("CREATE PUBLICATION TABLE_ FOR TABLE TABLE_")
    database.begin()
    database.source().dispose()
    assert database.run(publications)


def test_check_makes_nothing(database: Database) -> None:
    """A check of what is never registered must not keep the server's log."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    database.source().check()
    assert not database.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'TABLE_'")
    assert not database.run("SELECT 1 FROM pg_publication WHERE pubname = 'TABLE_'")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("CREATE TABLE TABLE_ (n integer)", "no usable key"),
        ("CREATE TABLE TABLE_ (n integer PRIMARY KEY, _op text)", "a column named _op"),
        ("CREATE VIEW TABLE_ AS SELECT 1 AS n", "There is no table"),
        ("CREATE TABLE TABLE_ (n integer PRIMARY KEY); CREATE PUBLICATION TABLE_", "holds other tables"),
        (
            "CREATE TABLE TABLE_ (n int PRIMARY KEY);CREATE PUBLICATION TABLE_ FOR TABLE TABLE_ WITH (publish=insert)",
            "leaves out inserts, updates or deletes",
        ),
    ],
)
def test_what_check_refuses(database: Database, made: str, told: str) -> None:
    """A table that can't be followed, a publication that does not fit."""
    for one in made.split(";"):
        database.run(one)
    try:
        with pytest.raises(ConfigError, match=told):
            database.source().check()
    finally:
        if "VIEW" in made:
            database.run("DROP VIEW TABLE_")


def test_a_password_where_it_is_not_looked_for_is_refused(database: Database) -> None:
    """Invariant 10: the registry only sees that the password of a URL is a reference."""
    for url in ("host=localhost password=secret", "postgresql://localhost/db?password=secret"):
        with pytest.raises(ConfigError, match="must be written as") as told:
            database.source(url=url).check()
        assert "secret" not in str(told.value)


def test_a_user_without_the_right_to_replicate_is_told(database: Database) -> None:
    """Which right is missing."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
    database.run("CREATE ROLE TABLE__reader LOGIN PASSWORD 'secret'")
    url = f"postgresql://{database.name}_reader:secret@{database.dsn.rpartition('@')[2]}"
    try:
        with pytest.raises(ConfigError, match="ALTER ROLE … REPLICATION"):
            database.source(url=url).check()
        database.run("ALTER ROLE TABLE__reader REPLICATION")
        with pytest.raises(ConfigError, match="grant CONNECT"):
            database.source(url=f"{url.rpartition('/')[0]}/postgres").check()  # no one but the superuser may go there
        with pytest.raises(ConfigError, match="GRANT SELECT"):
            database.source(url=url).check()
    finally:
        database.run("DROP ROLE TABLE__reader")


def test_row_filters_and_column_lists_of_a_publication_hold_in_the_snapshot_too(database: Database) -> None:
    """The snapshot shows what the stream would."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, x text, hidden text)")
    database.run("INSERT INTO TABLE_ VALUES (1, 'a', 'h'), (-1, 'b', 'h')")
    database.run("CREATE PUBLICATION TABLE_ FOR TABLE TABLE_ (n, x) WHERE (n > 0 AND x <> '{}')")
    rows = [{name: one[name] for name in one if name[0] != "_"} for one in database.changes(None, 1)]
    assert rows == [{"n": 1, "x": "a"}]

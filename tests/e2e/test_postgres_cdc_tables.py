"""Tables as they really are: parents and children, generated columns, names that we use, and who is under way."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import msgspec
import psycopg
import pytest

from clearwell.errors import ConfigError, Retryable
from clearwell.source import Refusal, SourceEvent
from clearwell.testing import reading
from connectors.postgres_cdc import server
from tests.support.cdc_database import Database, settled


def snapshot(database: Database, **options: Any) -> tuple[list[SourceEvent], Any]:
    """The rows that are there, and the position after them."""
    batches = reading.run(reading.take(database.source(**options), None, lambda found: bool(settled(found))))
    return reading.events_of(batches), settled(batches)


def ids(events: list[Any]) -> list[Any]:
    return [event["id"] if isinstance(event, dict) else msgspec.json.decode(event.data)["id"] for event in events]


def test_a_parent_is_read_without_the_tables_that_inherit_from_it(database: Database) -> None:
    database.run("CREATE TABLE TABLE_ (id text PRIMARY KEY, s text)")
    database.run("CREATE TABLE TABLE__capitals (country text, PRIMARY KEY (id)) INHERITS (TABLE_)")
    database.run("INSERT INTO TABLE_ VALUES ('bonn', 's')")
    database.run("INSERT INTO TABLE__capitals VALUES ('berlin', 's', 'de')")
    events, position = snapshot(database)
    assert ids(events) == ["bonn"]
    database.run("UPDATE TABLE__capitals SET s = 't'")
    database.run("UPDATE TABLE_ SET s = 'both'")
    database.run("INSERT INTO TABLE_ VALUES ('ulm', 's')")
    found = database.changes(position, 2)
    assert [(row["_op"], row["id"], row["_table"]) for row in found] == [
        ("u", "bonn", f"public.{database.name}"),
        ("c", "ulm", f"public.{database.name}"),
    ]
    source = database.source()
    source.check()  # the publication is there now, as at a restart
    (warning,) = source.warnings()
    assert f"The rows of {database.name}_capitals, which inherit from" in warning
    both = [database.name, f"{database.name}_capitals"]
    with pytest.raises(ConfigError, match=f"they differ by public.{database.name}_capitals"):
        database.source(tables=both).check()


def test_parent_and_child_named_together_are_two_tables(database: Database) -> None:
    database.run("CREATE TABLE TABLE_ (id text PRIMARY KEY)")
    database.run("CREATE TABLE TABLE__capitals (PRIMARY KEY (id)) INHERITS (TABLE_)")
    database.run("INSERT INTO TABLE_ VALUES ('bonn')")
    database.run("INSERT INTO TABLE__capitals VALUES ('berlin')")
    database.tables = [database.name, f"{database.name}_capitals"]
    events, position = snapshot(database)
    assert ids(events) == ["bonn", "berlin"]
    database.run("DELETE FROM TABLE_")
    assert sorted(row["_table"] for row in database.changes(position, 2)) == sorted(
        f"public.{name}" for name in database.tables
    )
    assert database.source().warnings() == []


def test_a_partitioned_table_is_all_its_partitions_also_later_ones(database: Database) -> None:
    database.run("CREATE TABLE TABLE_ (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)")
    database.run("CREATE TABLE TABLE__a PARTITION OF TABLE_ FOR VALUES IN ('a')")
    database.run("INSERT INTO TABLE_ VALUES (1, 'a')")
    events, position = snapshot(database)
    assert ids(events) == [1]
    database.run("CREATE TABLE TABLE__b (region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region))")
    database.run("ALTER TABLE TABLE_ ATTACH PARTITION TABLE__b FOR VALUES IN ('b')")
    database.run("INSERT INTO TABLE_ VALUES (2, 'b')")
    database.run("UPDATE TABLE_ SET region = 'b' WHERE id = 1")
    database.run("TRUNCATE TABLE_")
    found = database.changes(position, 4)
    assert [row["_op"] for row in found] == ["c", "d", "c", "t"]
    assert {row["_table"] for row in found} == {f"public.{database.name}"}
    database.source().check()


def test_a_key_that_is_generated(database: Database) -> None:
    """From PostgreSQL 18 on it is sent."""
    database.run(
        "CREATE TABLE TABLE_ (a int NOT NULL, id text GENERATED ALWAYS AS ('ge-' || a) STORED PRIMARY KEY, "
        "twice int GENERATED ALWAYS AS (a * 2) STORED)"
    )
    database.run("INSERT INTO TABLE_ (a) VALUES (1)")
    events, position = snapshot(database)
    assert [msgspec.json.decode(event.data)["twice"] for event in events] == [2] and ids(events) == ["ge-1"]
    database.run("INSERT INTO TABLE_ (a) VALUES (2)")
    database.run("UPDATE TABLE_ SET a = 3 WHERE a = 2")
    database.run("DELETE FROM TABLE_ WHERE a = 3")
    found = database.changes(position, 4)
    assert [(row["_op"], row["id"]) for row in found] == [("c", "ge-2"), ("d", "ge-2"), ("c", "ge-3"), ("d", "ge-3")]
    assert found[0]["twice"] == 4
    assert database.source().warnings() == []


def test_generated_columns_that_are_not_sent_are_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an older server none is; of PostgreSQL 18 those that are not stored."""
    database.run("CREATE TABLE TABLE_ (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id * 2) VIRTUAL)")
    assert database.source().warnings() == [f"Of public.{database.name} these columns are not sent: v."]
    database.run("DROP TABLE TABLE_")
    monkeypatch.setattr(server, "GENERATED_VERSION", 99)
    database.run("CREATE TABLE TABLE_ (a int, id int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)")
    with pytest.raises(ConfigError, match=r"holds id, a generated column, which PostgreSQL sends from"):
        database.source().check()


def test_a_first_start_waits_for_a_long_transaction_and_says_that_it_lives(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOCK_SECONDS", 1)
    monkeypatch.setattr("connectors.postgres_cdc.stream.HEARTBEAT_SECONDS", 0.4)
    database.run("CREATE TABLE TABLE_ (id int PRIMARY KEY)")

    async def scene() -> tuple[int, list[int]]:
        source, beats, found = database.source(), 0, list[int]()
        with psycopg.connect(database.dsn) as writer:
            writer.execute(f"INSERT INTO {database.name} VALUES (1)")  # type: ignore[arg-type]
            begun = time.monotonic()
            async with asyncio.timeout(30), aclosing(source.read(None)) as batches:  # type: ignore[type-var]
                async for events, position in batches:
                    found += ids(events)
                    beats += position is None
                    if beats and time.monotonic() - begun > 1.6:
                        writer.commit()
                    if found:
                        break
        await source.close()
        return beats, found

    beats, found = asyncio.run(scene())
    assert (beats > 1, found) == (True, [1])


def test_a_lock_that_another_holds_is_told_as_that(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOCK_SECONDS", 1)
    database.run("CREATE TABLE TABLE_ (id int PRIMARY KEY)")
    with psycopg.connect(database.dsn) as other:
        other.execute(f"LOCK TABLE {database.name} IN SHARE UPDATE EXCLUSIVE MODE")  # type: ignore[arg-type]
        with pytest.raises(Retryable, match="another session holds a lock"):
            snapshot(database)
    assert snapshot(database)[0] == []


def test_a_column_whose_name_we_use_refuses_its_rows_alone(database: Database) -> None:
    database.run("CREATE TABLE TABLE_ (id int PRIMARY KEY)")
    position = snapshot(database)[1]
    database.run("INSERT INTO TABLE_ VALUES (1)")
    database.run("ALTER TABLE TABLE_ ADD COLUMN _op text")
    database.run("INSERT INTO TABLE_ VALUES (2, 'mine')")
    database.run("ALTER TABLE TABLE_ RENAME COLUMN _op TO op")
    database.run("INSERT INTO TABLE_ VALUES (3, 'yours')")
    enough = lambda found: len(reading.events_of(found)) >= 3  # noqa: E731
    events = reading.events_of(reading.run(reading.take(database.source(), position, enough)))
    assert [event.refused for event in events] == [None, Refusal.NAME_TAKEN, None]
    assert msgspec.json.decode(events[2].data)["op"] == "yours"


def test_a_table_that_was_dropped_since_does_not_stop_what_it_was(database: Database) -> None:
    """REPLICA IDENTITY FULL: what its key is only the catalog says."""
    database.run("CREATE TABLE TABLE_ (id int PRIMARY KEY, s text)")
    database.run("CREATE TABLE TABLE__more (id int PRIMARY KEY, s text)")
    database.run("ALTER TABLE TABLE__more REPLICA IDENTITY FULL")
    database.tables = [database.name, f"{database.name}_more"]
    position = snapshot(database)[1]
    database.run("INSERT INTO TABLE__more VALUES (1, 'a')")
    database.run("UPDATE TABLE__more SET s = 'b'")
    database.run("ALTER TABLE TABLE__more RENAME COLUMN id TO number")
    database.run("UPDATE TABLE__more SET s = 'c'")
    found = database.changes(position, 3)
    assert [row["_op"] for row in found] == ["c", "u", "u"]
    assert [row.get("id", row.get("number")) for row in found] == [1, 1, 1]


def test_a_table_that_is_not_logged_is_refused(database: Database) -> None:
    database.run("CREATE UNLOGGED TABLE TABLE_ (id int PRIMARY KEY)")
    with pytest.raises(ConfigError, match="is not logged"):
        database.source().check()

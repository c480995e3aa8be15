"""What is special to `postgres_cdc`: values, keys, and the seam between snapshot and stream."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import psycopg
import pytest

from clearwell.source import EVENT_LIMIT, Batch
from clearwell.testing import reading
from tests.support.cdc_database import Database, settled

pytestmark = pytest.mark.slow


VALUES: dict[str, tuple[str, Any]] = {
    "boolean": ("true", True),
    "bigint": ("9223372036854775807", 9223372036854775807),
    "numeric": ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    "numeric /*nan*/": ("NaN", "NaN"),
    "numeric /*inf*/": ("-Infinity", "-Infinity"),
    "float8": ("0.1", 0.1),
    "float8 /*nan*/": ("NaN", "NaN"),
    "float4": ("Infinity", "Infinity"),
    "timestamptz": ("2026-03-04 05:06:07.123456+02", "2026-03-04T03:06:07.123456Z"),
    "timestamptz /*inf*/": ("infinity", "infinity"),
    "timestamptz /*bc*/": ("0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
    "timestamp": ("2026-03-04 05:06:07", "2026-03-04T05:06:07Z"),
    "timestamp /*inf*/": ("-infinity", "-infinity"),
    "date": ("2026-03-04", "2026-03-04"),
    "interval": ("1 day 02:03:04", "P1DT2H3M4S"),
    "bytea": (r"\x00ff10", "AP8Q"),
    "json": ('{"a": [1, "x"]}', {"a": [1, "x"]}),
    "jsonb": ('{"a": 12345678901234567890123}', 'raw:{"a": 12345678901234567890123}'),
    "uuid": ("11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555555"),
    "text": ('quote " backslash \\ tab\t newline\n ü 😀', 'quote " backslash \\ tab\t newline\n ü 😀'),
    "integer[]": ("{{1,NULL},{3,4}}", [[1, None], [3, 4]]),
    "integer[] /*bounds*/": ("[0:1]={7,8}", [7, 8]),
    "text[]": (r'{plain,"a, b","with \" and \\",NULL,"NULL"}', ["plain", "a, b", 'with " and \\', None, "NULL"]),
    "bytea[]": (r'{"\\x00ff"}', ["AP8="]),
    "jsonb[]": (r'{"{\"a\": 1}"}', [{"a": 1}]),
    "inet": ("10.0.0.1/8", "10.0.0.1/8"),
    "int4range": ("[1,5)", "[1,5)"),
    "TABLE__positive": ("17", 17),
    "TABLE__mood": ("happy", "happy"),
    "TABLE__positive[]": ("{1,2}", [1, 2]),
    "text /*null*/": ("", None),
}


def test_values_are_the_same_and_lossless_in_snapshot_and_stream(database: Database) -> None:
    """Every type, from the snapshot and from pgoutput: the same JSON."""
    database.run("CREATE DOMAIN TABLE__positive AS integer CHECK (value > 0)")
    database.run("CREATE TYPE TABLE__mood AS ENUM ('happy', 'sad')")
    try:
        columns = ", ".join(f"c{at} {kind}" for at, kind in enumerate(VALUES))
        database.run(f"CREATE TABLE TABLE_ (n integer PRIMARY KEY, {columns})")
        places = ", ".join(["%s"] * len(VALUES))
        texts = [None if "null" in kind else text for kind, (text, _) in VALUES.items()]
        insert = f"INSERT INTO {database.name} VALUES ({{}}, {places})"
        database.session.execute(insert.format(1), texts)
        read: list[bytes] = []
        found = reading.run(reading.take(database.source(), None, lambda some: bool(settled(some))))
        read.append(reading.events_of(found)[0].data)
        database.session.execute(insert.format(2), texts)
        more = reading.run(reading.take(database.source(), found[-1][1], lambda some: bool(some[-1][0])))
        read.append(reading.events_of(more)[0].data)
        for data in read:
            row = msgspec.json.decode(data)
            for at, (kind, (_, expected)) in enumerate(VALUES.items()):
                if isinstance(expected, str) and expected.startswith("raw:"):
                    assert f'"c{at}":{expected[4:]}'.encode() in data, kind
                else:
                    assert row[f"c{at}"] == expected, kind
        assert (row["_op"], msgspec.json.decode(read[0])["_op"]) == ("c", "r")
    finally:
        database.run("DROP TABLE TABLE_ CASCADE")
        database.run("DROP DOMAIN TABLE__positive CASCADE")
        database.run("DROP TYPE TABLE__mood CASCADE")


def test_updates_deletes_key_changes_and_truncate(database: Database) -> None:
    """Each change is what it was; a row under another key is a deleted and a created one."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, x text)")
    start = database.begin()
    database.run("INSERT INTO TABLE_ VALUES (1, 'a'), (2, 'b')")
    database.run("UPDATE TABLE_ SET x = 'c' WHERE n = 1")
    database.run("UPDATE TABLE_ SET n = 3 WHERE n = 2")
    database.run("DELETE FROM TABLE_ WHERE n = 1")
    database.run("TRUNCATE TABLE_")
    rows = database.changes(start, 7)
    found = [(row["_op"], row.get("n"), row.get("x")) for row in rows]
    assert found == [
        ("c", 1, "a"),
        ("c", 2, "b"),
        ("u", 1, "c"),
        ("d", 2, None),
        ("c", 3, "b"),
        ("d", 1, None),
        ("t", None, None),
    ]
    assert rows[5]["_deleted"] is True
    assert "x" not in rows[5], "What is not known of a deleted row must not look like null."
    assert {row["_table"] for row in rows} == {f"public.{database.name}"}
    assert rows[0]["_lsn"] == rows[1]["_lsn"] != rows[2]["_lsn"]
    assert rows[0]["_xid"] == rows[1]["_xid"] != rows[2]["_xid"]
    times = [row["_commit_time"] for row in rows]
    assert times == sorted(times) and times[0].endswith("Z")


def test_debezium_like_envelope_and_full_identity(database: Database) -> None:
    """Before and after, the key among them; the old row is known with REPLICA IDENTITY FULL."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, x text)")
    database.run("ALTER TABLE TABLE_ REPLICA IDENTITY FULL")
    start = database.begin()
    database.run("INSERT INTO TABLE_ VALUES (1, 'a')")
    database.run("UPDATE TABLE_ SET x = 'b'")
    database.run("DELETE FROM TABLE_")
    created, updated, deleted = database.changes(start, 3, envelope="debezium-like")
    assert (created["op"], created["key"], created["before"]) == ("c", {"n": 1}, None)
    assert created["after"] == {"n": 1, "x": "a"}
    assert (updated["op"], updated["before"], updated["after"]) == ("u", {"n": 1, "x": "a"}, {"n": 1, "x": "b"})
    assert (deleted["op"], deleted["before"], deleted["after"]) == ("d", {"n": 1, "x": "b"}, None)
    assert set(created) == {"op", "table", "lsn", "commit_ts", "xid", "key", "before", "after"}


def test_unchanged_toast_is_named_not_null(database: Database) -> None:
    """A large value that an update did not touch is told as such; with the full identity it is there."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, x integer, big text)")
    database.run("ALTER TABLE TABLE_ ALTER big SET STORAGE EXTERNAL")
    database.run("INSERT INTO TABLE_ VALUES (1, 1, repeat('x', 10000))")
    start = database.begin()
    database.run("UPDATE TABLE_ SET x = 2")
    database.run("ALTER TABLE TABLE_ REPLICA IDENTITY FULL")
    database.run("UPDATE TABLE_ SET x = 3")
    first, second = database.changes(start, 2)
    assert first["x"] == 2 and "big" not in first and first["_unchanged"] == ["big"]
    assert second["x"] == 3 and second["big"] == "x" * 10_000 and "_unchanged" not in second


def test_columns_may_change_in_mid_stream(database: Database) -> None:
    """Each change is told in the columns that the table had then."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, x text)")
    start = database.begin()
    database.run("INSERT INTO TABLE_ VALUES (1, 'a')")
    database.run("ALTER TABLE TABLE_ ADD y integer[] DEFAULT '{5}', ALTER n TYPE bigint")
    database.run("INSERT INTO TABLE_ VALUES (2, 'b')")
    database.run("ALTER TABLE TABLE_ DROP x")
    database.run("INSERT INTO TABLE_ VALUES (3)")
    rows = [{name: one[name] for name in one if name[0] != "_"} for one in database.changes(start, 3)]
    assert rows == [{"n": 1, "x": "a"}, {"n": 2, "x": "b", "y": [5]}, {"n": 3, "y": [5]}]


def test_too_large_a_row_is_refused_and_its_neighbours_flow(database: Database) -> None:
    """A row over the limit becomes a note."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, big text)")
    start = database.begin()
    database.run(f"INSERT INTO TABLE_ VALUES (1, 'a'), (2, repeat('x', {EVENT_LIMIT})), (3, 'c')")
    found = reading.run(reading.take(database.source(), start, lambda some: len(reading.events_of(some)) >= 3))
    events = reading.events_of(found)
    assert [event.refused is None for event in events] == [True, False, True]


def test_nothing_is_lost_between_snapshot_and_stream(database: Database) -> None:
    """Rows are written all the while, and the snapshot is interrupted: the events add up to the table."""
    database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY, x integer)")
    database.run("INSERT INTO TABLE_ SELECT n, 0 FROM generate_series(1, 300) n")
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(database, stop))
    writer.start()
    state: dict[int, tuple[str, dict[str, Any]]] = {}
    newest: dict[int, tuple[str, dict[str, Any]]] = {}
    ids: dict[str, bytes] = {}
    after: Any = None

    def note(batches: list[Batch]) -> None:
        for event in reading.events_of(batches):
            row = msgspec.json.decode(event.data)
            assert event.id not in ids or ids[event.id] == event.data
            ids[event.id] = event.data
            state[row["n"]] = (row["_op"], row)
            if row["n"] not in newest or row["_commit_time"] >= newest[row["n"]][1]["_commit_time"]:
                newest[row["n"]] = (row["_op"], row)

    try:
        for _ in range(12):  # every read ends after two pages: the snapshot goes on under ever new ones
            found = reading.run(reading.take(database.source(batch_events=30), after, lambda some: len(some) >= 2))
            note(found)
            after = found[-1][1]
    finally:
        stop.set()
        writer.join()
    database.run("INSERT INTO TABLE_ VALUES (-1, 0)")

    def came(found: list[Batch]) -> bool:
        note(found[-1:])
        return -1 in state

    reading.run(reading.take(database.source(), after, came))
    expected = dict(database.run("SELECT n, x FROM TABLE_"))
    for told in (state, newest):
        assert {n: row["x"] for n, (op, row) in told.items() if op != "d"} == expected


def _write(database: Database, stop: threading.Event) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as session:
        turn = 0
        while not stop.wait(0.002):
            turn += 1
            n = turn * 37 % 400 + 1
            session.execute(
                f"INSERT INTO {database.name} VALUES ({n}, {turn}) ON CONFLICT (n) DO UPDATE SET x = excluded.x"
            )
            session.execute(f"DELETE FROM {database.name} WHERE n = {turn * 53 % 400 + 1}")

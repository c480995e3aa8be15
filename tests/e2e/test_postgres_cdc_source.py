"""What is special to `postgres_cdc`: values, keys, the seam between snapshot and stream, and the slot's life."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import Settings
from clearwell.source import EVENT_LIMIT, Batch
from clearwell.testing import reading
from connectors.postgres_cdc import PostgresCdcConfig, PostgresCdcSource
from connectors.postgres_cdc_read import PostgresCdcPosition

pytestmark = pytest.mark.slow


class Database:
    """A table name, which is also the slot's and the publication's, and a session."""

    def __init__(self, dsn: str, name: str) -> None:
        self.dsn, self.name = dsn, name
        self.session = psycopg.connect(dsn, autocommit=True)
        self.tables = [name]

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """A statement in which TABLE is the table's name."""
        found = self.session.execute(statement.replace("TABLE_", self.name))
        return found.fetchall() if found.description else []

    def source(self, **options: Any) -> PostgresCdcSource:
        """A source of the table."""
        given = {"url": self.dsn, "tables": self.tables, "slot": self.name, "publication": self.name}
        return PostgresCdcSource(msgspec.convert(given | options, PostgresCdcConfig))

    def begin(self, **options: Any) -> Any:
        """Make slot and publication; the position from which all later changes come."""
        batches = reading.run(reading.take(self.source(**options), None, lambda found: bool(_settled(found))))
        return _settled(batches)

    def changes(self, after: Any, count: int, **options: Any) -> list[dict[str, Any]]:
        """The next `count` events, decoded."""
        source = self.source(**options)
        enough = lambda found: len(reading.events_of(found)) >= count  # noqa: E731
        batches = reading.run(reading.take(source, after, enough))
        return [msgspec.json.decode(event.data) for event in reading.events_of(batches)]

    def confirmed(self) -> str:
        """How far the slot was confirmed."""
        found = self.run("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'TABLE_'")
        return str(found[0][0])

    def close(self) -> None:
        """Drop everything."""
        self.source().dispose()
        self.run("DROP PUBLICATION IF EXISTS TABLE_")
        self.run("DROP TABLE IF EXISTS TABLE_ CASCADE")
        self.session.close()


def _settled(batches: list[Batch]) -> Any:
    position = batches[-1][1]
    assert isinstance(position, PostgresCdcPosition)
    return None if position.snapshot is not None else position


@pytest.fixture
def database(stack: Settings, unique: Callable[[str], str]) -> Iterator[Database]:
    one = Database(stack.postgres, unique("cdc"))
    yield one
    one.close()


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
        found = reading.run(reading.take(database.source(), None, lambda some: bool(_settled(some))))
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
    _until(lambda: database.confirmed() == batch[1].lsn)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="has given up the changes"):
        database.changes(start, 1)


def test_an_idle_source_lets_the_server_forget_what_others_wrote(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions move on with the server's log, though none of its changes are ours."""
    monkeypatch.setattr("connectors.postgres_cdc_read.HEARTBEAT_SECONDS", 0.4)
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
        await asyncio.to_thread(_until, lambda: bool(database.run(active)))
        database.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'TABLE_'")
        with pytest.raises(ClearwellError) as told:
            await reader
        await batches.aclose()
        return told.value

    assert isinstance(reading.run(dropped_while_reading()), Retryable)
    _until(lambda: not database.run("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'TABLE_' AND active"))
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


def _until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "It has not come about."
        threading.Event().wait(0.02)

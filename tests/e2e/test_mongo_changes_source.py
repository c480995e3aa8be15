"""What is special to `mongo_changes`: kinds of changes, BSON's values, _ids of all types, the seam, lost history."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import msgspec
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from clearwell.errors import ConfigError
from clearwell.local import mongo
from clearwell.settings import Settings
from clearwell.source import EVENT_LIMIT, Batch
from clearwell.testing import reading
from connectors.mongo_changes.extended_json import CODEC, Events
from connectors.mongo_changes.read import MongoChangesPosition
from connectors.mongo_changes.source import MongoChangesConfig, MongoChangesSource

pytestmark = pytest.mark.slow


class Store:
    """A collection, and sources of it."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.client = MongoClient[dict[str, Any]](url)
        self.database = self.client.get_default_database()
        self.collection = self.database[name]

    def source(self, **options: Any) -> MongoChangesSource:
        """A source of the collection."""
        return MongoChangesSource(
            msgspec.convert({"url": self.url, "collection": self.name} | options, MongoChangesConfig)
        )

    def begin(self, **options: Any) -> Any:
        """The position from which all later changes come."""
        return reading.run(reading.take(self.source(**options), None, lambda found: _settled(found[-1])))[-1][1]

    def changes(self, after: Any, count: int, **options: Any) -> list[dict[str, Any]]:
        """The next `count` events, decoded."""
        enough = lambda found: len(reading.events_of(found)) >= count  # noqa: E731
        batches = reading.run(reading.take(self.source(**options), after, enough))
        return [msgspec.json.decode(event.data) for event in reading.events_of(batches)]

    def close(self) -> None:
        """Drop the collection."""
        self.collection.drop()
        self.client.close()


def _settled(batch: Batch) -> bool:
    assert isinstance(batch[1], MongoChangesPosition)
    return batch[1].snapshot is None


@pytest.fixture
def store(stack: Settings, unique: Callable[[str], str]) -> Iterator[Store]:
    one = Store(stack.mongo, unique("mongo"))
    yield one
    one.close()


def test_kinds_of_changes(store: Store) -> None:
    """Inserts, updates and replacements bring the document, deletes its key."""
    start = store.begin(snapshot=False)
    store.collection.insert_one({"_id": 1, "x": "a"})
    store.collection.update_one({"_id": 1}, {"$set": {"x": "b"}})
    store.collection.replace_one({"_id": 1}, {"y": 3})
    store.collection.insert_one({"_id": 2, "x": "z"})
    store.collection.delete_one({"_id": 2})
    rows = store.changes(start, 5)
    assert [row["_op"] for row in rows] == ["c", "u", "u", "c", "d"]
    assert (rows[0]["x"], rows[2]["y"], rows[4]["_id"]) == ("a", 3, 2)
    assert rows[4]["_deleted"] is True and "x" not in rows[4]
    assert {row["_ns"] for row in rows} == {f"{store.database.name}.{store.name}"}
    times = [row["_cluster_time"] for row in rows]
    assert times == sorted(times) and len(set(times)) == 5


def test_an_update_of_a_document_that_is_gone(store: Store) -> None:
    """The lookup finds nothing any more: its key, and that it is gone."""
    store.collection.insert_one({"_id": 1, "x": "a"})
    start = store.begin(snapshot=False)
    store.collection.update_one({"_id": 1}, {"$set": {"x": "b"}})
    store.collection.delete_one({"_id": 1})
    updated, deleted = store.changes(start, 2)
    assert (updated["_op"], updated["_id"], updated["_document_gone"]) == ("u", 1, True)
    assert deleted["_op"] == "d"


VALUES: dict[str, tuple[Any, Any]] = {
    "object id": (ObjectId("0123456789abcdef01234567"), "0123456789abcdef01234567"),
    "date": (datetime(2026, 3, 4, 5, 6, 7, 8000, UTC), "2026-03-04T05:06:07.008000Z"),
    "long": (Int64(2**62), 2**62),
    "decimal": (Decimal128("12345678901234567890.12345"), "12345678901234567890.12345"),
    "decimal NaN": (Decimal128("NaN"), "NaN"),
    "NaN": (float("nan"), "NaN"),
    "infinity": ([float("-inf")], ["-Infinity"]),
    "binary": (b"\x00\xff\x10", "AP8Q"),
    "uuid": (Binary(bytes(range(16)), 4), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    "old uuid": (Binary(bytes(range(16)), 3), "AAECAwQFBgcICQoLDA0ODw=="),
    "code": (Code("function(){}"), {"$code": "function(){}"}),
    "regex": (Regex("^a", "i"), {"$regularExpression": {"pattern": "^a", "options": "i"}}),
    "the largest key": (MaxKey(), {"$maxKey": 1}),
    "nested": ({"a": [{"b": None, "c": True}]}, {"a": [{"b": None, "c": True}]}),
    "text": ("a\x00b \u2028 😀", "a\x00b \u2028 😀"),
}


def test_values_are_the_same_and_lossless_in_snapshot_and_stream(store: Store) -> None:
    """Plain JSON of every BSON type, from both."""
    document = {f"v{at}": value for at, (value, _) in enumerate(VALUES.values())}
    store.collection.insert_one({"_id": 1, **document})
    found = reading.run(reading.take(store.source(), None, lambda some: _settled(some[-1])))
    store.collection.insert_one({"_id": 2, **document})
    more = reading.run(reading.take(store.source(), found[-1][1], lambda some: len(reading.events_of(some)) >= 1))
    for event in (reading.events_of(found)[0], reading.events_of(more)[-1]):
        row = msgspec.json.decode(event.data)
        for at, (kind, (_, expected)) in enumerate(VALUES.items()):
            if isinstance(expected, str) and expected.startswith("raw:"):
                assert f'"v{at}":{expected[4:]}'.encode() in event.data, kind
            else:
                assert row[f"v{at}"] == expected, kind


FAR_AWAY = {"_id": 1, "at": DatetimeMS(2**60)}


def test_a_date_that_python_does_not_know() -> None:
    """Dates that BSON can hold and Python can't come as milliseconds, in Extended JSON."""
    document = bson.decode(bson.encode(FAR_AWAY), codec_options=CODEC)
    event = Events("plain", "row").of_document("c", "d", document, Timestamp(1, 1))
    assert msgspec.json.decode(event.data)["at"] == {"$date": {"$numberLong": str(2**60)}}


@pytest.mark.xfail(strict=True, raises=PyMongoError, reason="secantusdb 0.7 stores no date after the year 9999")
def test_a_date_that_python_does_not_know_at_the_server(store: Store) -> None:
    """As above, through the server."""
    store.collection.insert_one(FAR_AWAY)
    assert len(store.changes(None, 1)) == 1


@pytest.mark.parametrize(
    ("dialect", "number", "date"),
    [
        ("relaxed", 1, {"$date": "2026-01-01T00:00:00Z"}),
        ("canonical", {"$numberInt": "1"}, {"$date": {"$numberLong": "1767225600000"}}),
    ],
)
def test_extended_json_and_whole_change_events(store: Store, dialect: str, number: Any, date: Any) -> None:
    """The server's change event, in Extended JSON."""
    start = store.begin(snapshot=False)
    store.collection.insert_one({"_id": "k", "n": 1, "at": datetime(2026, 1, 1, tzinfo=UTC)})
    (change,) = store.changes(start, 1, envelope="change", json=dialect)
    assert change["operationType"] == "insert" and change["documentKey"] == {"_id": "k"}
    assert change["fullDocument"] == {"_id": "k", "n": number, "at": date}
    assert set(change["_id"]) == {"_data"} and "clusterTime" in change


def test_a_snapshot_reads_ids_of_all_types(store: Store) -> None:
    """In pages of two, each after the last _id of the one before, whatever its type."""
    uuids = [Binary(bytes(14) + bytes([kind, n]), kind) for n in range(5) for kind in (3, 4)]
    ids: list[Any] = [
        *uuids,
        float("nan"),
        1,
        2.5,
        Decimal128("3"),
        "a",
        "b",
        {"a": 1},
        b"x",
        ObjectId(),
        True,
        datetime(2026, 1, 1),
        None,
    ]
    store.collection.insert_many([{"_id": one} for one in ids])
    found = reading.run(reading.take(store.source(batch_events=2), None, lambda some: _settled(some[-1])))
    assert len(reading.events_of(found)) == len(ids)
    assert len({event.id for event in reading.events_of(found)}) == len(ids)
    again: list[Any] = []
    after: Any = None
    while after is None or after.snapshot is not None:
        batches = reading.run(reading.take(store.source(batch_events=2), after, lambda some: len(some) >= 2))
        again += reading.events_of(batches)
        after = reading.as_stored(batches[-1][1], MongoChangesPosition)
    assert [event.id for event in again] == [event.id for event in reading.events_of(found)]


def test_nothing_is_lost_between_snapshot_and_stream(store: Store) -> None:
    """Documents are written all the while, and the snapshot is interrupted: the events add up to the collection."""
    store.collection.insert_many([{"_id": n, "x": 0} for n in range(200)])
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(store, stop))
    writer.start()
    state: dict[int, dict[str, Any]] = {}
    newest: dict[int, dict[str, Any]] = {}
    after: Any = None

    def note(batches: list[Batch]) -> None:
        for event in reading.events_of(batches):
            row = msgspec.json.decode(event.data)
            state[row["_id"]] = row
            if row["_id"] not in newest or row["_cluster_time"] >= newest[row["_id"]]["_cluster_time"]:
                newest[row["_id"]] = row

    try:
        for _ in range(8):
            found = reading.run(reading.take(store.source(batch_events=30), after, lambda some: len(some) >= 2))
            note(found)
            after = found[-1][1]
    finally:
        stop.set()
        writer.join()
    store.collection.insert_one({"_id": -1, "x": 0})

    def came(found: list[Batch]) -> bool:
        note(found[-1:])
        return -1 in state

    reading.run(reading.take(store.source(), after, came))
    expected = {one["_id"]: one["x"] for one in store.collection.find()}
    for told in (state, newest):
        assert {n: row["x"] for n, row in told.items() if row["_op"] != "d" and "x" in row} == expected


def _write(store: Store, stop: threading.Event) -> None:
    turn = 0
    while not stop.wait(0.005):
        turn += 1
        store.collection.replace_one({"_id": turn * 37 % 250}, {"x": turn}, upsert=True)
        store.collection.delete_one({"_id": turn * 53 % 250})


def test_after_a_dropped_collection_the_stream_goes_on(store: Store) -> None:
    """Drop and invalidate are events, and what is written into a new collection of that name comes."""
    start = store.begin(snapshot=False)
    store.collection.insert_one({"_id": 1})
    store.collection.drop()
    source = store.source()
    seen: list[str] = []

    def came(found: list[Batch]) -> bool:
        seen.extend(msgspec.json.decode(event.data)["_op"] for event in reading.events_of(found[-1:]))
        if "invalidate" in seen and "c" not in seen[1:]:
            store.collection.insert_one({"_id": len(seen)})
        return "c" in seen[1:]

    found = reading.run(reading.take(source, start, came))
    assert seen[:4] == ["c", "drop", "invalidate", "c"]
    ids = [event.id for event in reading.events_of(found)]
    assert len(set(ids)) == len(ids)


def test_a_pipeline_chooses(store: Store) -> None:
    """Stages in Extended JSON; other changes do not come."""
    options = {"pipeline": [{"$match": {"operationType": "insert", "fullDocument.n": {"$gte": {"$numberLong": "2"}}}}]}
    start = store.begin(snapshot=False)
    store.collection.insert_many([{"_id": n, "n": n} for n in range(4)])
    assert [row["n"] for row in store.changes(start, 2, **options)] == [2, 3]


def test_a_pipeline_that_drops_what_ids_are_made_of(store: Store) -> None:
    """Told, not guessed."""
    start = store.begin(snapshot=False)
    store.collection.insert_one({"_id": 1})
    with pytest.raises(ConfigError, match="must keep"):
        store.changes(start, 1, pipeline=[{"$project": {"clusterTime": 0}}])


def test_a_whole_database(store: Store, unique: Callable[[str], str]) -> None:
    """Without a collection: snapshot and changes of all there are."""
    name = unique("mongodb")
    options = {"collection": None, "database": name}
    database = store.client[name]
    try:
        database["a"].insert_one({"_id": 1})
        database["b"].insert_one({"_id": 1})
        found = reading.run(reading.take(store.source(**options), None, lambda some: _settled(some[-1])))
        rows = [msgspec.json.decode(event.data) for event in reading.events_of(found)]
        assert [(row["_ns"], row["_op"]) for row in rows] == [(f"{name}.a", "r"), (f"{name}.b", "r")]
        database["c"].insert_one({"_id": 2})
        later = store.changes(found[-1][1], 1, **options)
        assert later[-1]["_ns"] == f"{name}.c"
        assert [one.name for one in store.source(**options).discover()] == ["a", "b", "c"]
    finally:
        store.client.drop_database(name)


def test_too_large_a_document_is_refused_and_its_neighbours_flow(store: Store) -> None:
    """A document over the limit becomes a note."""
    store.collection.insert_many([{"_id": 1}, {"_id": 2, "x": "x" * EVENT_LIMIT}, {"_id": 3}])
    found = reading.run(reading.take(store.source(), None, lambda some: _settled(some[-1])))
    assert [event.refused is None for event in reading.events_of(found)] == [True, False, True]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (286, r"are gone from the oplog .* Reset the connector"),
        (260, "does not know the resume token"),
        (40573, "no replica set"),
        (13, "grant it the role read"),
        (18, "refuses the user or the password"),
        (10334, "larger than 16 MB"),
    ],
)
def test_what_the_server_may_answer(store: Store, code: int, told: str) -> None:
    """Each error code in the words of a person (the server is told to fail)."""
    start = store.begin(snapshot=False)
    data = {"failCommands": ["aggregate"], "errorCode": code, "appName": "clearwell"}
    store.client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
    try:
        with pytest.raises(ConfigError, match=told):
            store.changes(start, 1)
    finally:
        store.client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_positions_that_are_none(store: Store) -> None:
    """A token that is no Extended JSON, or of no server."""
    with pytest.raises(ConfigError, match="holds no Extended JSON"):
        store.changes(MongoChangesPosition(token="{"), 1)
    with pytest.raises(ConfigError, match="or the position's token"):
        store.changes(MongoChangesPosition(token='{"v": {"_data": "82"}}'), 1)


@pytest.mark.slow
def test_an_expired_token_is_told(tmp_path: Path, free_port: int) -> None:
    """A server that keeps few changes has forgotten those after an old position."""
    (tmp_path / "logs").mkdir()
    process = mongo.process(tmp_path, free_port, test_commands=False)
    process.setup()
    server = subprocess.Popen([*process.argv, "--oplog-max-entries", "500"], stdout=subprocess.DEVNULL)
    store = Store(mongo.url(tmp_path, free_port), "few")
    try:
        _until_ready(store)
        start = store.begin(snapshot=False)
        store.collection.insert_one({"_id": "first"})
        batches = reading.run(reading.take(store.source(), start, lambda found: bool(reading.events_of(found))))
        for _ in range(4):
            store.collection.insert_many([{"n": n} for n in range(1000)])
        with pytest.raises(ConfigError, match=r"are gone from the oplog .* Reset the connector"):
            store.changes(batches[-1][1], 4_000)
    finally:
        store.client.close()
        server.terminate()
        server.wait(20)


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_ready(store: Store) -> None:
    for _ in range(20):
        try:
            store.client.admin.command("ping")
            return
        except PyMongoError:
            continue
    raise AssertionError("The server does not start.")

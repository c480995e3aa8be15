"""MongoDB at its worst: connections cut before and after the rows, refused documents, wrong addresses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, WriteError

from clearwell.contract.model import Field, Type
from clearwell.deadline import VARIABLE
from clearwell.destinations.mongo import collection as mongo_collection
from clearwell.destinations.mongo.destination import MongoDestination
from clearwell.destinations.mongo.errors import translate
from clearwell.destinations.protocol import CleanBatch, RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import Settings
from tests.conformance.stores import (
    SIMPLE,
    START,
    Event,
    MongoCase,
    batch_of,
    batches_of,
    expected,
    fields_of,
    reveals_nothing,
    some_events,
)
from tests.support.platform import until

pytestmark = pytest.mark.slow

CANARY = "pw-canary-5f1e"


@pytest.fixture
def case(stack: Settings, unique: Callable[[str], str]) -> MongoCase:
    return MongoCase(stack, unique("events"))


@pytest.fixture
def destination(case: MongoCase, unique: Callable[[str], str]) -> Iterator[MongoDestination]:
    # The embedded server does not tell a driver that waits for news that it is primary again: let the driver ask.
    asking = f"{case.url}{'&' if '?' in case.url else '?'}serverMonitoringMode=poll&heartbeatFrequencyMS=500"
    made = MongoDestination(asking, SIMPLE, case.collection, unique("group"))
    made.open()
    yield made
    made.close()


@contextmanager
def failing(case: MongoCase, commands: list[str], **how: Any) -> Iterator[None]:
    """The server fails each of `commands` as long as this lasts (a fail point of MongoDB's test commands)."""
    with MongoClient[dict[str, Any]](case.url) as client:
        data = {"failCommands": commands, **how}
        client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")


FAULTS: dict[str, dict[str, Any]] = {
    "connection cut": {"closeConnection": True},
    "shutting down": {"errorCode": 11600},
    "not primary": {"errorCode": 10107},
}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is given up soon: until then the driver itself tries again, as often as it can."""
    monkeypatch.setenv(VARIABLE, "2")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("command", ["find", "insert", "update"])
def test_a_fault_at_any_command_loses_and_repeats_nothing(
    destination: MongoDestination, case: MongoCase, command: str, how: dict[str, Any]
) -> None:
    events = some_events(random.Random(5), 120, 40)
    for batch in batches_of(events, destination.claim("clean-a", 0, 1), 60):
        with failing(case, [command], **how), pytest.raises(Retryable) as caught:
            destination.write(batch)
        assert reveals_nothing(caught.value, CANARY)
        until(lambda batch=batch: _written(destination, batch))
    stored = fields_of(case.rows(), "id", "number")
    assert stored == [(e.id, e.number) for _, e in sorted(expected(events).items())]
    (account,) = destination.accounts("clean-a")
    assert (account.next_offset, account.delivered) == (120, 120)


def _written(destination: MongoDestination, batch: CleanBatch) -> bool:
    """Or Retryable, while the driver has not seen yet that the server is well again."""
    destination.write(batch)
    return True


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (Field("value", Type.INT32), 2**31, RowReason.CONSTRAINT),  # the collection's validator
        (Field("value", Type.INT64), 2**63, RowReason.OUT_OF_RANGE),
        (Field("value", Type.STRING), f"{CANARY}\ud800", RowReason.WRONG_TYPE),
        (Field("value", Type.STRING), 5, RowReason.CONSTRAINT),
        (Field("value", Type.JSON), {f"{CANARY}\0": 1}, RowReason.WRONG_TYPE),
        (Field("value", Type.STRING), CANARY * 2**21, RowReason.TOO_LARGE),  # over 16 MB
    ],
    ids=["int32", "int64", "surrogate", "type", "json-nul", "over 16 MB"],
)
def test_a_document_the_collection_refuses_is_told_of_and_moves_no_position(
    case: MongoCase, field: Field, value: Any, reason: RowReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_collection, "is_embedded", lambda database: False)  # as on MongoDB itself
    destination = MongoDestination(case.url, replace(SIMPLE, fields=(*SIMPLE.fields, field)), case.collection, "group")
    destination.open()
    claim = destination.claim("clean-a", 0, 10**6)
    event = Event("bad", START, 2, raw_offset=31)
    bad = batch_of([event], claim, claim.next_offset + 9, rows=[(*event.row, value)])
    where = r"partition 0 of topic clean-a before offset 9 \(raw offsets 31 to 31\)"
    with pytest.raises(RowsRefused, match=where) as caught:
        destination.write(bad)
    assert caught.value.reason is reason
    assert reveals_nothing(caught.value, CANARY)
    assert destination.accounts("clean-a")[0].next_offset == 0
    destination.close()


def test_a_unique_index_of_the_users_own_is_not_taken_for_a_repeat(
    destination: MongoDestination, case: MongoCase
) -> None:
    with MongoClient[dict[str, Any]](case.url) as client:
        client.get_default_database()[case.collection].create_index("number", unique=True)
    events = [Event("a", START, 1, raw_offset=0), Event("b", START, 1, raw_offset=1)]
    claim = destination.claim("clean-a", 0, 1)
    with pytest.raises(RowsRefused) as caught:
        destination.write(batch_of(events, claim, 2))
    assert caught.value.reason is RowReason.NOT_UNIQUE
    assert destination.accounts("clean-a")[0].next_offset == 0


def test_a_repeat_is_none_of_a_unique_index_of_the_users_own(destination: MongoDestination, case: MongoCase) -> None:
    """Written again after a crash before the position moved: a server may tell of the user's index and not of `_id`."""
    events = [Event(f"k{n}", START, n, raw_offset=n) for n in range(20)]
    with MongoClient[dict[str, Any]](case.url) as client:
        client.get_default_database()[case.collection].create_index("number", unique=True)
        claim = destination.claim("clean-a", 0, 1)
        destination.write(batch_of(events, claim, 20))
        before = case.rows()
        client.get_default_database()["clearwell_delivery"].update_many({}, {"$set": {"next_offset": 0}})
        destination.write(batch_of(events, claim, 20))
        assert case.rows() == before
        newer = [Event("k1", START, 7, raw_offset=20)]  # another row has 7
        with pytest.raises(RowsRefused) as caught:
            destination.write(batch_of(newer, claim, 21))
        assert caught.value.reason is RowReason.NOT_UNIQUE
        assert case.rows() == before


def test_what_others_write_is_checked_by_the_schema_of_all_versions(
    destination: MongoDestination, case: MongoCase, unique: Callable[[str], str]
) -> None:
    wide = replace(SIMPLE, version=2, fields=(*SIMPLE.fields, Field("gate", Type.INT32)))
    for schema in (wide, SIMPLE):  # the older version opens last
        other = MongoDestination(case.url, schema, case.collection, unique("group"))
        other.open()
        other.close()
    destination.write(batch_of([Event("a", START, 1, raw_offset=0)], destination.claim("clean-a", 0, 1), 1))
    with MongoClient[dict[str, Any]](case.url) as client:
        collection = client.get_default_database()[case.collection]
        for name in ("number", "gate"):
            with pytest.raises(WriteError, match="failed validation"):
                collection.update_one({"_id": "a"}, {"$set": {name: "five"}})


def test_a_collection_of_somebody_else_is_left_alone(case: MongoCase) -> None:
    with MongoClient[dict[str, Any]](case.url) as client:
        client.get_default_database()[case.collection].insert_one({"theirs": 1})
    destination = MongoDestination(case.url, SIMPLE, case.collection, "group")
    with pytest.raises(ConfigError, match="Clearwell did not make it"):
        destination.open()
    destination.close()


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        (f"mongo://u:{CANARY}@h/d", ConfigError, "can't be read"),
        (f"mongodb://u:{CANARY}@h", ConfigError, "names no database"),
        (f"mongodb://u:{CANARY}@x@h/d", ConfigError, "can't be read"),
        (f"mongodb://127.0.0.1:1/{CANARY}@h/d?serverSelectionTimeoutMS=50", ClearwellError, "MongoDB"),
        (f"mongodb://u:{CANARY}@127.0.0.1:1/d?serverSelectionTimeoutMS=50", Retryable, "127.0.0.1:1/d does not answer"),
    ],
    ids=["scheme", "database", "unescaped", "slash", "port"],
)
def test_a_wrong_address_gives_one_clear_sentence(url: str, kind: type[ClearwellError], said: str) -> None:
    began = time.monotonic()
    with pytest.raises(kind, match=said) as caught:
        destination = MongoDestination(url, SIMPLE, "events", "group")
        try:
            destination.open()
        finally:
            destination.close()
    assert reveals_nothing(caught.value, CANARY)
    assert time.monotonic() - began < 10, "it was not told as soon as the URL asks for"


@pytest.mark.parametrize(("code", "said"), [(18, "refuses the user or the password"), (13, "does not let this user")])
def test_a_missing_right_is_a_config_error(code: int, said: str) -> None:
    error = translate(OperationFailure(f"not with {CANARY}", code), "MongoDB at h:1/d", "write partition 0")
    assert isinstance(error, ConfigError)
    assert said in str(error)
    assert CANARY not in str(error)

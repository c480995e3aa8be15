"""A stream whose stores refuse some of its events, each for a reason that the pipeline can't know."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from kafka import KafkaConsumer, TopicPartition
from psycopg.errors import UndefinedTable
from psycopg.sql import SQL, Identifier
from pymongo import MongoClient

from clearwell.destinations.protocol import Accounts, RowReason
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, dead_topic, deliverer_group
from clearwell.plugins.open_destination import open_destination
from clearwell.records import dead_letter
from clearwell.steps import bind
from tests.support.kafka_login import login
from tests.support.platform import PARTITIONS, Platform, until

CONTRACT = """
stream: $stream
version: 1
owner: tests@example.com
description: Bookings of seats.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true, max_length: 20000}
  at: {type: timestamp, required: true}
  seat: {type: int64}
  amount: {type: int32}
  note: {type: string}
  free: {type: json}
routes:
  - {to: postgres}
  - {to: mongo}
"""

STRICTER = (
    "CREATE UNIQUE INDEX ON {table} (seat)",
    "ALTER TABLE {table} ADD CHECK (amount <> 13)",
    """CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.note = 'forbidden' THEN RAISE EXCEPTION 'the note %', new.note; END IF;
    PERFORM new.amount::smallint; RETURN new; END $$""",
    "CREATE TRIGGER strict BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}",
)
"""What somebody does to the table after Clearwell has made it."""

POISON: Mapping[str, tuple[RowReason, dict[str, Any]]] = {
    "seat": (RowReason.NOT_UNIQUE, {"seat": 0}),  # the first event of each partition has it
    "amount": (RowReason.CONSTRAINT, {"amount": 13}),
    "range": (RowReason.OUT_OF_RANGE, {"amount": 70_000}),
    "note": (RowReason.CONSTRAINT, {"note": "forbidden"}),
    "key": (RowReason.TOO_LARGE, {}),  # see `_id`
}
"""What Postgres refuses, by the beginning of the event's id."""


def make_stricter(platform: Platform) -> None:
    """Once a deliverer has made the table."""
    names = {"table": Identifier(platform.stream), "function": SQL("{}()").format(Identifier(f"{platform.stream}_f"))}
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session:
        there = ("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (platform.stream,))
        until(lambda: session.execute(*there).fetchone() == (True,))
        for statement in STRICTER:
            session.execute(SQL(statement).format(**names))


@dataclass
class Bookings:
    """Raw events by partition, `poisoned` of which Postgres refuses; each event has a key of its own."""

    events: dict[str, bytes] = field(default_factory=dict)
    reasons: dict[str, RowReason] = field(default_factory=dict)

    @property
    def good(self) -> set[str]:
        """The ids of all others."""
        return self.events.keys() - self.reasons.keys()

    def put(self, platform: Platform, dice: random.Random, count: int, each: int) -> None:
        """`count` good events into each partition, and `each` of each kind of poison, in random places."""
        for partition in range(PARTITIONS):
            ids = [f"good-{partition}-{number}" for number in range(count)]
            kinds = [kind for kind in POISON for _ in range(each)]
            for number, kind in enumerate(kinds):
                ids.insert(dice.randrange(1, len(ids) + 1), _id(kind, f"{kind}-{partition}-{number}", dice))
            events = {one: self._event(one, seat) for seat, one in enumerate(ids)}
            self.events |= events
            platform.put(events.values(), partition)

    def _event(self, id_: str, seat: int) -> bytes:
        kind, partition = id_.split("-")[:2]
        event = {"id": id_, "at": "2026-01-01T00:00:00Z", "amount": 1, "note": "welcome", "free": {"a": [1, None]}}
        # Seats of their own in each partition, so that the order between partitions does not matter.
        event["seat"] = seat * PARTITIONS + int(partition)
        if kind in POISON:
            self.reasons[id_], change = POISON[kind]
            event |= change | ({"seat": int(partition)} if kind == "seat" else {})
        return json.dumps(event).encode()


def _id(kind: str, id_: str, dice: random.Random) -> str:
    """A key that is too long for its index has noise, since PostgreSQL compresses what it indexes."""
    return f"{id_}-{dice.randbytes(8_000).hex()}" if kind == "key" else id_


def letters(platform: Platform) -> list[tuple[dead_letter.DeadLetter, bytes]]:
    """All dead letters, opened."""
    topic = dead_topic(platform.stream)
    consumer = KafkaConsumer(**login(platform.settings.kafka), auto_offset_reset="earliest")
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    try:
        return list(_letters(platform, consumer, consumer.end_offsets(places)))
    finally:
        consumer.close()


def _letters(platform: Platform, consumer: KafkaConsumer, ends: Mapping[Any, int]) -> Iterator[Any]:
    while any(consumer.position(place) < end for place, end in ends.items()):
        for records in consumer.poll(500).values():
            for record in records:
                letter = dead_letter.read(record.headers)
                yield letter, dead_letter.open_event(platform.keyring, letter, record.value.decode("ascii"))


def ids_in_postgres(platform: Platform) -> Counter[str]:
    """The keys of the table; none before a deliverer has made it."""
    query = SQL("SELECT id FROM {}").format(Identifier(platform.stream))
    with contextlib.suppress(UndefinedTable), psycopg.connect(platform.settings.postgres) as session:
        return Counter(one for (one,) in session.execute(query).fetchall())
    return Counter()


def ids_in_mongo(platform: Platform) -> Counter[str]:
    """The keys of the collection."""
    with MongoClient[dict[str, Any]](platform.settings.mongo) as client:
        return Counter(one["_id"] for one in client.get_default_database()[platform.stream].find({}, {"_id": 1}))


def accounts_of(platform: Platform, destination: str) -> Accounts:
    """The sums over all partitions; `partition` is how many those are."""
    contract = platform.contract
    group = deliverer_group(contract.stream, contract.version, destination)
    store = open_destination(platform.settings, contract.route(destination), bind(contract).schema, group)
    topic_id = admin.topic_id(platform.settings.kafka, clean_topic(contract.stream, contract.version))
    try:
        found = store.accounts(topic_id)
    finally:
        store.close()
    sums = [
        sum(getattr(one, name) for one in found)
        for name in ("next_offset", "delivered", "unrouted", "repeats", "refused")
    ]
    return Accounts(len(found), *sums)


def check(platform: Platform, bookings: Bookings) -> None:
    """Just the poison rows are dead letters of Postgres; all others are in its table, and MongoDB has them all."""
    opened: dict[str, dead_letter.DeadLetter] = {}
    for letter, value in letters(platform):
        event = json.loads(value)
        known = opened.setdefault(event["id"], letter)
        assert known == letter, "a repeat of a letter has another identity"
        assert event["note"] == json.loads(bookings.events[event["id"]])["note"]
    assert {id_: letter.reason for id_, letter in opened.items()} == bookings.reasons
    assert {(one.destination, one.step, one.field) for one in opened.values()} == {("postgres", "deliver", "")}
    assert ids_in_postgres(platform) == Counter(bookings.good)
    assert ids_in_mongo(platform) == Counter(bookings.events.keys())
    found = accounts_of(platform, "postgres")
    assert (found.delivered, found.refused) == (len(bookings.good), len(bookings.reasons))
    assert (accounts_of(platform, "mongo").delivered, accounts_of(platform, "mongo").refused) == (
        len(bookings.events),
        0,
    )

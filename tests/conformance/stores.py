"""Destinations at their worst: a small stream, batches of it, and a way to look at what each store holds."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from pymongo import MongoClient

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.destinations.mongo.destination import MongoDestination
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.protocol import Claim, CleanBatch, Destination
from clearwell.errors import ClearwellError
from clearwell.settings import Settings

START = datetime(2013, 1, 1, tzinfo=UTC)

SIMPLE = CleanSchema(
    stream="flights",
    version=1,
    fields=(
        Field("id", Type.STRING, required=True),
        Field("at", Type.TIMESTAMP),
        Field("number", Type.INT32),
        Field("tail", Type.STRING, privacy=Privacy(PrivacyKind.ENCRYPT)),
    ),
    key=("id",),
    event_id="id",
    event_time="at",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One clean event of SIMPLE; its clean offset is its place in a list."""

    id: str
    at: datetime | None
    number: int | None
    raw_offset: int
    raw_topic: str = "raw-a"

    @property
    def row(self) -> tuple[Any, ...]:
        return (self.id, self.at, self.number, f"cw1.{self.id}")


def some_events(rng: random.Random, count: int, keys: int) -> list[Event]:
    """Events in raw order whose keys repeat and whose times go back and forth, equal ones among them."""
    return [
        Event(f"k{rng.randrange(keys)}", START + timedelta(minutes=rng.randrange(count // 4)), i, raw_offset=i)
        for i in range(count)
    ]


def batch_of(events: Sequence[Event], claim: Claim, next_offset: int, **changes: Any) -> CleanBatch:
    """A CleanBatch of `events` in partition 0 of the clean topic "clean-a"."""
    high_watermarks = dict(claim.high_watermarks)
    for event in events:
        high_watermarks[event.raw_topic] = max(event.raw_offset, high_watermarks.get(event.raw_topic, -1))
    whole = CleanBatch(
        topic_id="clean-a",
        partition=0,
        next_offset=next_offset,
        epoch=claim.epoch,
        rows=[event.row for event in events],
        values=[b"{}"] * len(events),
        offsets=range(next_offset - len(events), next_offset),
        raw_topics=[event.raw_topic for event in events],
        raw_offsets=[event.raw_offset for event in events],
        high_watermarks=high_watermarks,
    )
    return replace(whole, **changes)


def batches_of(events: Sequence[Event], claim: Claim, size: int) -> list[CleanBatch]:
    """`events` from the claim's offset on, in flushes of `size`."""
    starts = range(claim.next_offset, len(events), size)
    return [batch_of(events[i : i + size], claim, min(i + size, len(events))) for i in starts]


def expected(events: Sequence[Event]) -> dict[str, Event]:
    """The newest event of each key, by sorting: another way than the code's."""
    return {event.id: event for event in sorted(events, key=lambda one: (one.at or START, one.raw_offset))}


class PostgresCase:
    def __init__(self, settings: Settings, table: str) -> None:
        self.dsn, self.table = settings.postgres, table

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        return PostgresDestination(self.dsn, schema, self.table, group)

    def rows(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row, options="-c timezone=UTC") as session:
            found = session.execute(SQL("SELECT * FROM {} ORDER BY 1").format(Identifier(self.table))).fetchall()
        return [{name: value for name, value in row.items() if name != "_delivered_at"} for row in found]


class MongoCase:
    def __init__(self, settings: Settings, collection: str) -> None:
        self.url, self.collection = settings.mongo, collection

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        return MongoDestination(self.url, schema, self.collection, group)

    def rows(self) -> list[dict[str, Any]]:
        with MongoClient[dict[str, Any]](self.url, tz_aware=True) as client:
            found = list(client.get_default_database()[self.collection].find().sort("_id"))
        ours = ("_id", "_event_time_us")
        return [{name: value for name, value in row.items() if name not in ours} for row in found]


def fields_of(rows: Sequence[Mapping[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """The rows as tuples of `names`."""
    return [tuple(row[name] for name in names) for row in rows]


def reveals_nothing(error: ClearwellError, *secrets: str) -> bool:
    """One line of text without the secrets, and no cause behind it that a traceback would print."""
    clean = not any(secret in str(error) for secret in secrets) and "\n" not in str(error)
    return clean and error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)

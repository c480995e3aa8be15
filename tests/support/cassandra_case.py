"""A keyspace of a real Cassandra, as `DestinationSuite` asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import certifi
from cassandra.query import dict_factory

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.cassandra.destination import CassandraConfig, CassandraDestination
from clearwell.destinations.protocol import Destination
from clearwell.testing.destination_events import SIMPLE, Row
from tests.support.cassandra_server import PASSWORD, session

TABLE = "events"


@dataclass
class CassandraCase:
    """One table in a keyspace of its own."""

    port: int
    keyspace: str
    secrets: Sequence[str] = (PASSWORD, "canary-wrong")

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        return CassandraDestination(self.config(), schema, TABLE, group)

    def config(self, **changes: Any) -> CassandraConfig:
        usual = {"hosts": "127.0.0.1", "port": self.port, "keyspace": self.keyspace, "user": "writer"}
        return CassandraConfig(**(usual | {"password": PASSWORD} | changes))

    def rows(self) -> list[dict[str, Any]]:
        with session(self.port, "writer", PASSWORD) as one:
            one.row_factory = dict_factory
            found = list(one.execute(f"SELECT * FROM {self.keyspace}.{TABLE}"))
        rows = [{name: _plain(value) for name, value in row.items() if name != "_event_time_us"} for row in found]
        return sorted(rows, key=lambda row: (row["_raw_topic"], row["_raw_offset"]))

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        return {
            "a number beyond int32": lambda row: (*row[:2], 2**40, row[3]),
            "half a character": lambda row: (*row[:3], "\ud800"),
            "an empty key": lambda row: ("", *row[1:]),
            "a key that is too long": lambda row: ("k" * 66_000, *row[1:]),
        }

    def broken(self) -> Mapping[str, Callable[[], Destination]]:
        def told(**changes: Any) -> Callable[[], Destination]:
            return lambda: CassandraDestination(self.config(**changes), SIMPLE, TABLE, "broken")

        return {
            "a wrong password": told(password="canary-wrong"),
            "no such user": told(user="canary-wrong"),
            "no rights": told(user="reader"),
            "no such keyspace": told(keyspace="nowhere"),
            "no server": told(port=1),
            "no such host": told(hosts="nowhere.invalid"),
            "no host": told(hosts=" , "),
            "no such certificates": told(ca="/nowhere/ca.pem"),
            "no such datacenter": told(datacenter="nowhere"),
            "another authority": told(ca=certifi.where()),
            "a keyspace that can't be": told(keyspace='x"; DROP'),
        }


def as_kept(field: Field, value: Any) -> Any:
    """Milliseconds, and json as its text."""
    stored = field.clean_type
    if stored is Type.LIST and value is not None:
        return [_milliseconds(one) for one in value]
    if stored is Type.JSON and value is not None:
        return _Json(json.dumps(value))
    return _milliseconds(value)


class _Json(str):
    """A text of json that equals others of the same value."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(self) == json.loads(other)


def _milliseconds(value: Any) -> Any:
    return value.replace(microsecond=value.microsecond // 1000 * 1000) if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    """What the driver gives, as Python's own."""
    if isinstance(value, datetime):  # the driver reads it by way of a float, whose last digits are wrong
        near = value + timedelta(microseconds=500)
        return near.replace(microsecond=near.microsecond // 1000 * 1000, tzinfo=UTC)
    if type(value).__name__ == "Date":
        return value.date()
    return [_plain(one) for one in value] if isinstance(value, list) else value

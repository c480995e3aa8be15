"""The destination mongo keeps every obligation of a destination; what BSON narrows is stated here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from pymongo import MongoClient

from clearwell.contract.model import CleanSchema, Field
from clearwell.destinations.mongo.destination import MongoDestination
from clearwell.destinations.protocol import Destination
from clearwell.errors import ConfigError
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_cases import fresh
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of

THREE = [CleanEvent(f"k{number}", START, number, number) for number in range(3)]


class MongoCase:
    """A collection of its own."""

    secrets: Sequence[str] = ("swordfish",)
    poisons: Mapping[str, Callable[[Row], Row]] = {
        "an integer out of every range": lambda row: (row[0], row[1], 2**63, row[3]),
        "a lone surrogate": lambda row: (row[0], row[1], row[2], "cw1.\ud800"),
    }

    def __init__(self, url: str, collection: str) -> None:
        self.url, self.collection = url, collection

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        """Into the collection."""
        return MongoDestination(self.url, schema, self.collection, group)

    def rows(self) -> Sequence[dict[str, Any]]:
        """The documents, without what only Clearwell reads."""
        with MongoClient[dict[str, Any]](self.url, tz_aware=True) as client:
            found = list(client.get_default_database()[self.collection].find().sort("_id"))
        ours = ("_id", "_event_time_us")
        return [{name: value for name, value in row.items() if name not in ours} for row in found]

    def broken(self) -> Mapping[str, Callable[[], Destination]]:
        """What a person gets wrong."""

        def at(url: str) -> Callable[[], Destination]:
            return lambda: MongoDestination(url, SIMPLE, self.collection, "group")

        return {
            "nobody answers": at("mongodb://me:swordfish@127.0.0.1:1/shop?serverSelectionTimeoutMS=300"),
            "no database": at("mongodb://me:swordfish@127.0.0.1:1"),
            "no URL": at("mongodb://me:sword@fish@swordfish:x"),
        }


class TestMongo(DestinationSuite):
    """On a real server."""

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> MongoCase:
        """A collection of its own."""
        return MongoCase(stack.mongo, unique("events"))

    def narrowed(self, field: Field, value: Any) -> Any:
        """Milliseconds, dates as midnight, percent-encoded keys."""
        if isinstance(value, datetime):
            return value.replace(microsecond=value.microsecond // 1000 * 1000)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, Decimal):
            return Decimal128(value)
        if isinstance(value, list):
            return [self.narrowed(field, one) for one in value]
        if isinstance(value, dict):
            safe = {"$where": "%24where", "b.c": "b%2Ec", "50%": "50%25", "$ref": "%24ref", "$id": "%24id"}
            return {safe.get(name, name): self.narrowed(field, inner) for name, inner in value.items()}
        return value

    def test_a_validator_that_others_changed_is_told_in_one_sentence(
        self, case: MongoCase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It refuses every document alike, which is about it and about none of them."""
        monkeypatch.setattr("clearwell.destinations.mongo.collection.is_embedded", lambda _: False)  # which skips it
        with (
            contextlib.closing(case.destination(SIMPLE, fresh("others"))) as destination,
            MongoClient[Any](case.url) as client,
        ):
            database = client.get_default_database()
            destination.open()
            ours = next(database.list_collections(filter={"name": case.collection}))["options"]["validator"]
            claim = destination.claim(TOPIC, 0, 1)
            batch = batch_of(THREE, claim, 3)

            rules = ours["$jsonSchema"] | {"required": [*ours["$jsonSchema"]["required"], "checked_by"]}
            database.command("collMod", case.collection, validator={"$jsonSchema": rules})
            for refused in (lambda: destination.write(batch), destination.open):
                with pytest.raises(ConfigError, match='demands a field "checked_by", which the contract'):
                    refused()

            name = SIMPLE.key[0]
            rules = ours["$jsonSchema"] | {"properties": ours["$jsonSchema"]["properties"] | {name: {"maxLength": 0}}}
            database.command("collMod", case.collection, validator={"$jsonSchema": rules, "own": {"$exists": True}})
            with pytest.raises(ConfigError, match="was changed by others, and refuses documents of"):
                destination.write(batch)
            assert case.rows() == []
            destination.open()
            assert "was changed by others: it is set anew" in caplog.text
            destination.write(batch)
            assert len(case.rows()) == 3

"""Documents that MongoDB refuses, through a real deliverer: a dead letter of MongoDB each, the others are stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from clearwell.kafka import names
from tests.support.platform import Platform, Service, until
from tests.support.refusing import CONTRACT, accounts_of, ids_in_mongo, letters

pytestmark = pytest.mark.slow

RAW = "A" * 22
"""The id of a raw topic."""


@pytest.fixture
def platform(platform_of: Callable[[str], Platform]) -> Platform:
    return platform_of(CONTRACT)


def deliver(platform: Platform) -> Service:
    return platform.start("deliverer", "--destination", "mongo")


def test_a_document_over_16_mb(platform: Platform) -> None:
    """It is a dead letter, the others are stored. JSON grows sixfold in BSON, so a clean event of 3 MB is enough."""
    events = [{"id": f"e{n}", "at": "2026-01-01T00:00:00Z"} for n in range(40)]
    events[17]["free"] = [0] * 1_500_000  # type: ignore[assignment]
    records = [
        (json.dumps(event, separators=(",", ":")).encode(), _identity(offset), 0) for offset, event in enumerate(events)
    ]
    platform.append(names.clean_topic(platform.stream, 1), records)
    service = deliver(platform)
    until(lambda: accounts_of(platform, "mongo").next_offset == 40, within=90)
    found = accounts_of(platform, "mongo")
    assert (found.delivered, found.refused) == (39, 1)
    assert set(ids_in_mongo(platform)) == {event["id"] for event in events} - {"e17"}
    ((letter, value),) = letters(platform)
    assert (letter.destination, letter.reason) == ("mongo", "the row is larger than the store takes")
    assert (letter.clean_offset, json.loads(value)["id"]) == (17, "e17")
    assert service.stop() == 0


def _identity(offset: int) -> list[tuple[str, bytes]]:
    return [(names.RAW_TOPIC_ID, RAW.encode()), (names.RAW_OFFSET, b"%d" % offset)]


def test_a_unique_violation_on_a_secondary_key(platform: Platform) -> None:
    """A unique index of the user's own: the second event of a seat is refused, whatever its key is."""
    service = deliver(platform)
    until(lambda: _is_made(platform))
    with MongoClient[dict[str, Any]](platform.settings.mongo) as client:
        client.get_default_database()[platform.stream].create_index("seat", unique=True)
    platform.start("cleaner")
    events = [{"id": f"e{n}", "at": "2026-01-01T00:00:00Z", "seat": n} for n in range(40)]
    events[23]["seat"] = 7
    platform.put([json.dumps(event).encode() for event in events], partition=0)
    until(lambda: accounts_of(platform, "mongo").next_offset == 40)
    found = accounts_of(platform, "mongo")
    assert (found.delivered, found.refused) == (39, 1)
    assert set(ids_in_mongo(platform)) == {event["id"] for event in events} - {"e23"}
    ((letter, value),) = letters(platform)
    assert (letter.destination, letter.reason) == ("mongo", "another row has the same value of a unique index")
    assert json.loads(value)["id"] == "e23"
    assert service.stop() == 0


def _is_made(platform: Platform) -> bool:
    with MongoClient[dict[str, Any]](platform.settings.mongo) as client:
        return platform.stream in client.get_default_database().list_collection_names()

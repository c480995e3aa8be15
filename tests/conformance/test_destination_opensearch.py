"""`opensearch` on a real OpenSearch."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.opensearch.destination import OpenSearchConfig, OpenSearchDestination
from clearwell.destinations.protocol import Destination, RowReason, RowsRefused
from clearwell.errors import ConfigError, Retryable
from clearwell.testing.destination_cases import Opener
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of
from clearwell.testing.destinations import DestinationSuite
from tests.support import opensearch_door as door_of
from tests.support.opensearch_door import Door
from tests.support.opensearch_server import OpenSearchServer

pytestmark = pytest.mark.slow

PASSWORD = "canary-opensearch-password"
ALL_OF_THEM = 10_000


@dataclass
class OpenSearchCase:
    """One index."""

    url: str
    index: str
    secrets: Sequence[str] = (PASSWORD, "canary-user")

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        return OpenSearchDestination(OpenSearchConfig(url=self.url), schema, self.index, group)

    def rows(self) -> list[dict[str, Any]]:
        requests.post(f"{self.url}/{self.index}/_refresh", timeout=60)
        query = {"size": ALL_OF_THEM, "sort": [{"_raw_topic": "asc"}, {"_raw_offset": "asc"}]}
        found = requests.post(f"{self.url}/{self.index}/_search", json=query, timeout=60).json()
        rows = [hit["_source"] for hit in found["hits"]["hits"]]
        return [{name: value for name, value in row.items() if name != "_event_time_us"} for row in rows]

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        return {
            "a number beyond int32": lambda row: (*row[:2], 2**40, row[3]),
            "half a character": lambda row: (*row[:3], "\ud800"),
        }

    def broken(self) -> Mapping[str, Callable[[], Destination]]:
        def at(url: str, index: str = self.index, ca: str | None = None) -> Callable[[], Destination]:
            return lambda: OpenSearchDestination(OpenSearchConfig(url=url, ca=ca), SIMPLE, index, "broken")

        _, _, place = self.url.rpartition("/")
        return {
            "no server": at(f"http://canary-user:{PASSWORD}@127.0.0.1:1"),
            "no TLS there": at(f"https://canary-user:{PASSWORD}@{place}"),
            "no such certificates": at(f"https://canary-user:{PASSWORD}@{place}", ca="/nowhere/ca.pem"),
            "no URL": at(f"canary-user:{PASSWORD}"),
            "a port that is none": at(f"http://canary-user:{PASSWORD}@host:99999"),
            "no host of that name": at(f"http://canary-user:{PASSWORD}@nowhere.invalid:9200"),
            "an index that can't be": at(self.url, index="Wrong/Index"),
        }


@pytest.fixture(scope="module")
def server() -> Iterator[OpenSearchServer]:
    one = OpenSearchServer()
    yield one
    one.close()


@pytest.fixture
def door(server: OpenSearchServer, tmp_path: Path) -> Iterator[Door]:
    one = Door(tmp_path, server.url)
    yield one
    one.close()


class TestOpenSearch(DestinationSuite):
    """Version 3."""

    @pytest.fixture
    def case(self, server: OpenSearchServer, unique: Callable[[str], str]) -> OpenSearchCase:
        return OpenSearchCase(server.url, unique("events").lower())

    def narrowed(self, field: Field, value: Any) -> Any:
        """As JSON has it."""
        return [_json(one) for one in value] if field.clean_type is Type.LIST and value else _json(value)

    def test_two_incarnations_of_raw_in_one_flush(self, case: OpenSearchCase, opened: Opener) -> None:
        """The later one wins, however long its own offsets are."""
        old = [CleanEvent("a", START, i, raw_offset=i) for i in (7, 5)]
        new = CleanEvent("a", START, 3, raw_offset=2, raw_topic="raw-b")
        destination = opened()
        self.deliver(destination, [*old, new], size=1)
        assert [row["number"] for row in case.rows()] == [3]

    def test_the_key_as_id(self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer) -> None:
        """A text is the id itself; keys that can't be ids are hashed, and stay apart."""
        keys = ["LH 454/é", "", "k" * 513, "k" * 514, "sha256:x"]
        events = [CleanEvent(key, START, number, raw_offset=number) for number, key in enumerate(keys)]
        destination = opened()
        self.deliver(destination, events)
        self.require(case, destination, events)
        assert server.ask("GET", f"{case.index}/_doc/LH%20454%2F%C3%A9")["_source"]["number"] == 0

    def test_searching(self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer) -> None:
        """Numbers, instants and words are found as what they are."""
        schema = replace(SIMPLE, fields=(*SIMPLE.fields, Field("price", Type.DECIMAL, precision=20, scale=2)))
        rows = [(f"k{i}", START.replace(hour=i), i, "AA", Decimal(i) + Decimal("0.10")) for i in range(4)]
        events = [CleanEvent(row[0], row[1], row[2], raw_offset=i) for i, row in enumerate(rows)]
        destination = opened(schema=schema)
        destination.write(batch_of(events, destination.claim(TOPIC, 0, 1), 4, rows=rows, schema=schema))
        assert destination.row_count() == 4
        ranges = [{"range": {"number": {"gte": 1}}}, {"range": {"price": {"lt": 3}}}, {"term": {"tail": "AA"}}]
        ranges.append({"range": {"at": {"lt": "2013-01-01T02:00:00Z"}}})
        found = server.ask("POST", f"{case.index}/_search", {"query": {"bool": {"filter": ranges}}})
        assert [(hit["_id"], hit["_source"]["price"]) for hit in found["hits"]["hits"]] == [("k1", "1.10")]

    def test_a_row_larger_than_a_request(self, case: OpenSearchCase, opened: Opener) -> None:
        """Refused alone; a batch larger than a request is parted."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent(f"k{i}", START, 1, raw_offset=i) for i in range(4)]
        rows = [(*event.row[:3], "x" * 6_000_000) for event in events]
        destination.write(batch_of(events, claim, 4, rows=rows))
        assert destination.row_count() == 4
        large = CleanEvent("large", START, 1, raw_offset=4)
        with pytest.raises(RowsRefused) as refused:
            destination.write(batch_of([large], claim, 5, rows=[(*large.row[:3], "x" * 21_000_000)]))
        assert refused.value.reason is RowReason.TOO_LARGE

    def test_json_deeper_than_the_server_reads(self, case: OpenSearchCase, opened: Opener) -> None:
        """The row is refused, not the stream."""
        schema = replace(SIMPLE, fields=(*SIMPLE.fields, Field("free", Type.JSON)))
        destination = opened(schema=schema)
        claim = destination.claim(TOPIC, 0, 1)
        event = CleanEvent("a", START, 1, raw_offset=0)
        destination.write(batch_of([event], claim, 1, rows=[(*event.row, _nested(15))], schema=schema))
        with pytest.raises(RowsRefused):
            destination.write(batch_of([event], claim, 2, rows=[(*event.row, _nested(700))], schema=schema))
        assert destination.row_count() == 1

    def test_a_full_disk(self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer) -> None:
        """The server blocks the index by itself at its flood stage; the same batch goes in once that is over."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=0)]
        server.ask("PUT", f"{case.index}/_settings", {"index.blocks.read_only_allow_delete": True})
        with pytest.raises(Retryable):
            destination.write(batch_of(events, claim, 1))
        server.ask("PUT", f"{case.index}/_settings", {"index.blocks.read_only_allow_delete": None})
        destination.write(batch_of(events, claim, 1))
        self.require(case, destination, events)

    def test_an_index_that_may_not_be_written(
        self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer
    ) -> None:
        """Ends the deliverer in one sentence."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        server.ask("PUT", f"{case.index}/_settings", {"index.blocks.write": True})
        with pytest.raises(ConfigError, match="lift blocks"):
            destination.write(batch_of([CleanEvent("a", START, 1, raw_offset=0)], claim, 1))

    def test_an_index_deleted_under_us(self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer) -> None:
        """Ends the deliverer; the server does not make one with fields of its own."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        server.ask("DELETE", case.index)
        with pytest.raises(ConfigError, match="is gone"):
            destination.write(batch_of([CleanEvent("a", START, 1, raw_offset=0)], claim, 1))
        assert destination.row_count() == 0

    def test_an_index_of_somebody_else(self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer) -> None:
        server.ask("PUT", case.index, {"mappings": {"properties": {"id": {"type": "keyword"}}}})
        with pytest.raises(ConfigError, match="did not make it"):
            opened()

    def test_through_tls_with_a_login(self, case: OpenSearchCase, door: Door) -> None:
        destination = OpenSearchDestination(
            OpenSearchConfig(url=door.url(), ca=str(door.ca)), SIMPLE, case.index, "behind the door"
        )
        destination.open()
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("b", START, 2, raw_offset=1)]
        self.deliver(destination, events)
        self.require(case, destination, events)
        destination.close()

    @pytest.mark.parametrize(
        ("user", "password", "known", "said"),
        [
            ("nobody", door_of.PASSWORD, True, "refuses the user or the password"),
            (door_of.USER, "canary-wrong", True, "refuses the user or the password"),
            (door_of.READER, door_of.PASSWORD, True, "grant the user the rights"),
            (door_of.USER, door_of.PASSWORD, False, "can't agree on TLS"),
        ],
        ids=["no such user", "a wrong password", "no rights", "an unknown certificate"],
    )
    def test_a_door_that_is_closed(
        self, case: OpenSearchCase, door: Door, user: str, password: str, known: bool, said: str
    ) -> None:
        """One sentence, with no secret in it."""
        config = OpenSearchConfig(url=door.url(user, password), ca=str(door.ca) if known else None)
        destination = OpenSearchDestination(config, SIMPLE, case.index, "before the door")
        with pytest.raises(ConfigError, match=said) as told:
            destination.open()
        assert "canary" not in str(told.value) + repr(destination) + repr(config)
        destination.close()

    def test_a_server_that_goes_away(self, case: OpenSearchCase, opened: Opener, server: OpenSearchServer) -> None:
        """Retryable while it is gone; what it acknowledged is there after SIGKILL, and the same batch goes in once."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("b", START, 1, raw_offset=1)]
        destination.write(batch_of(events[:1], claim, 1))
        server.stop()
        with pytest.raises(Retryable):
            destination.write(batch_of(events[1:], claim, 2))
        server.start()
        destination.write(batch_of(events[1:], replace(claim, high_watermarks={"raw-a": 0}), 2))
        self.require(case, destination, events)


def _nested(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value) if isinstance(value, Decimal | date) else value

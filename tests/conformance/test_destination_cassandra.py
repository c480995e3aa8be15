"""`cassandra` on a real Cassandra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from clearwell.contract.model import Field, Type
from clearwell.destinations.cassandra.destination import CassandraDestination
from clearwell.destinations.cassandra.link import CassandraSession
from clearwell.destinations.protocol import Accounts, Claim, RowReason, RowsRefused
from clearwell.errors import ConfigError, Fenced, Retryable
from clearwell.testing.destination_cases import Opener, fresh
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, batch_of
from clearwell.testing.destinations import DestinationSuite
from tests.support.cassandra_case import TABLE, CassandraCase, as_kept
from tests.support.cassandra_server import CassandraServer
from tests.support.outage import way_to

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[CassandraServer]:
    one = CassandraServer()
    yield one
    one.close()


class TestCassandra(DestinationSuite):
    """Version 5."""

    @pytest.fixture
    def case(self, server: CassandraServer, unique: Callable[[str], str]) -> CassandraCase:
        name = unique("space")
        server.keyspace(name)
        return CassandraCase(server.port, name)

    def narrowed(self, field: Field, value: Any) -> Any:
        return as_kept(field, value)

    def test_compound_key(self, case: CassandraCase, opened: Opener) -> None:
        """As in the suite; the time in the key is a text, exact to the microsecond."""
        schema = replace(SIMPLE, key=("id", "at"))
        times = [START.replace(microsecond=i // 2) for i in range(6)]
        events = [CleanEvent("a", time, i, raw_offset=i) for i, time in enumerate(times)]
        self.deliver(opened(schema=schema), events, size=2)
        self.deliver(opened(schema=schema, group="again"), events[::-1], size=4)
        assert [(row["at"], row["number"]) for row in case.rows()] == [
            (f"2013-01-01T00:00:00.{i:06}Z", 2 * i + 1) for i in range(3)
        ]

    def test_a_tie_replaces_the_whole_row(self, case: CassandraCase, opened: Opener) -> None:
        """Also columns whose new value is smaller, or null."""
        events = [CleanEvent("a", START, 9, raw_offset=0), CleanEvent("a", START, None, raw_offset=1)]
        destination = opened()
        self.deliver(destination, events, size=1)
        self.require(case, destination, events)

    def test_two_writers_at_a_row(self, case: CassandraCase, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was compared is what is replaced: a writer that was overtaken compares again."""
        destination, other = opened(), opened(group=fresh("other"))
        first, late, newest = (CleanEvent("a", START.replace(hour=h), h, raw_offset=h) for h in (1, 2, 3))
        self.deliver(destination, [first])
        claim = destination.claim(TOPIC, 0, 1)
        overtaken = before(monkeypatch, "run_each", "UPDATE", lambda: self.deliver(other, [newest]))
        destination.write(batch_of([late], claim, 2))
        assert overtaken
        self.require(case, destination, [newest])

    def test_a_row_deleted_by_somebody_else(
        self, case: CassandraCase, opened: Opener, server: CassandraServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Right after it was compared: the newer version is written all the same."""
        destination = opened()
        first, newer = CleanEvent("a", START, 1, raw_offset=0), CleanEvent("a", START, 2, raw_offset=1)
        self.deliver(destination, [first])
        claim = destination.claim(TOPIC, 0, 1)
        delete = f"DELETE FROM {case.keyspace}.{TABLE} WHERE id = 'a' IF EXISTS"
        deleted = before(monkeypatch, "run_each", "UPDATE", lambda: server.run(delete))
        destination.write(batch_of([newer], claim, 2))
        assert deleted
        self.require(case, destination, [newer])

    def test_a_claim_overtaken_by_the_owner_before(self, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
        """It never starts at a position that is not the last one: what is counted would be counted again."""
        owner, successor = opened(), opened()
        old = owner.claim(TOPIC, 0, 1)
        batch = batch_of([CleanEvent("a", START, 1, raw_offset=0)], old, 1)
        overtaken = before(monkeypatch, "run", "UPDATE", lambda: owner.write(batch))
        with pytest.raises(Retryable):
            successor.claim(TOPIC, 0, 2)
        assert overtaken
        assert successor.claim(TOPIC, 0, 2) == Claim(2, 1, {"raw-a": 0})

    def test_an_owner_overtaken_by_a_claim(
        self, case: CassandraCase, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Past the fence, with its rows in: it can't move the position any more; the successor writes them again."""
        owner, successor = opened(), opened()
        event = CleanEvent("a", START, 1, raw_offset=0)
        batch = batch_of([event], owner.claim(TOPIC, 0, 1), 1)
        claims = before(monkeypatch, "run", "UPDATE", lambda: successor.claim(TOPIC, 0, 2))
        with pytest.raises(Retryable):
            owner.write(batch)
        with pytest.raises(Fenced):
            owner.write(batch)
        assert claims == [Claim(2, 0)]
        successor.write(replace(batch, epoch=2))
        assert successor.accounts(TOPIC) == [Accounts(0, 1, delivered=1)]
        self.require(case, successor, [event])

    @pytest.mark.parametrize("size", [7_000_000, 9_000_000])
    def test_a_row_larger_than_is_taken(self, case: CassandraCase, opened: Opener, size: int) -> None:
        """By the server, which has a guardrail at 6 MiB, and by any server."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        event = CleanEvent("a", START, 1, raw_offset=0)
        with pytest.raises(RowsRefused) as refused:
            destination.write(batch_of([event], claim, 1, rows=[(*event.row[:3], "x" * size)]))
        assert refused.value.reason is RowReason.TOO_LARGE
        destination.write(batch_of([event], claim, 1, rows=[(*event.row[:3], "x" * 6_000_000)]))
        assert destination.row_count() == 1

    def test_a_null_in_a_list(self, opened: Opener) -> None:
        """Refused: the driver alone would make an empty text of it."""
        schema = replace(SIMPLE, fields=(*SIMPLE.fields, Field("words", Type.LIST, items=Type.STRING)))
        destination = opened(schema=schema)
        event = CleanEvent("a", START, 1, raw_offset=0)
        with pytest.raises(RowsRefused):
            batch = batch_of(
                [event], destination.claim(TOPIC, 0, 1), 1, rows=[(*event.row, ["a", None])], schema=schema
            )
            destination.write(batch)
        assert destination.row_count() == 0

    def test_a_decimal_key(self, case: CassandraCase, opened: Opener) -> None:
        """1.5 and 1.50 are the same key, as everywhere."""
        price = Field("price", Type.DECIMAL, precision=38, scale=2)
        schema = replace(SIMPLE, fields=(*SIMPLE.fields, price), key=("price",))
        destination = opened(schema=schema)
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, number, raw_offset=number) for number in range(2)]
        for count, (event, value) in enumerate(zip(events, ("1.5", "1.50"), strict=True), 1):
            row = (*event.row, Decimal(value))
            destination.write(batch_of([event], claim, count, rows=[row], schema=schema))
        assert [(row["number"], str(row["price"])) for row in case.rows()] == [(1, "1.50")]

    def test_tls(self, case: CassandraCase, server: CassandraServer) -> None:
        """By an authority of its own, and a certificate for the address."""
        destination = CassandraDestination(case.config(ca=str(server.ca)), SIMPLE, TABLE, "tls")
        destination.open()
        self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])
        assert destination.row_count() == 1
        destination.close()

    def test_before_anything_is_there(self, case: CassandraCase) -> None:
        """As `destination check` asks: nothing was delivered, and nothing is made."""
        destination = case.destination(SIMPLE, "early")
        assert (destination.accounts(TOPIC), destination.row_count()) == ([], 0)
        destination.close()

    def test_a_column_dropped_under_us(self, case: CassandraCase, opened: Opener, server: CassandraServer) -> None:
        """Ends the deliverer in one sentence; it comes back when the deliverer starts again."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        server.run(f"ALTER TABLE {case.keyspace}.{TABLE} DROP number")
        event = CleanEvent("a", START, 1, raw_offset=0)
        with pytest.raises(ConfigError, match="not as Clearwell made it"):
            destination.write(batch_of([event], claim, 1))
        opened().write(batch_of([event], claim, 1))
        assert [row["number"] for row in case.rows()] == [1]

    def test_a_table_of_somebody_else(self, case: CassandraCase, opened: Opener, server: CassandraServer) -> None:
        server.run(f"CREATE TABLE {case.keyspace}.{TABLE} (id text PRIMARY KEY)")
        with pytest.raises(ConfigError, match="did not make it"):
            opened()

    def test_a_server_that_goes_away(self, case: CassandraCase) -> None:
        """Retryable while it is gone; then the same batch goes in once."""
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("b", START, 1, raw_offset=1)]
        with way_to(case.port) as way:
            destination = CassandraDestination(case.config(port=way.port), SIMPLE, TABLE, "gone")
            destination.open()
            claim = destination.claim(TOPIC, 0, 1)
            destination.write(batch_of(events[:1], claim, 1))
            way.shut()
            for _ in range(2):  # while it notices, and when it knows
                with pytest.raises(Retryable):
                    destination.write(batch_of(events[1:], claim, 2))
            way.open()
            destination.write(batch_of(events[1:], replace(claim, high_watermarks={"raw-a": 0}), 2))
            self.require(case, destination, events)
            destination.close()


def before(patch: pytest.MonkeyPatch, method: str, verb: str, happens: Callable[[], object]) -> list[object]:
    """What happens right before a `CassandraSession` method's first statement of that verb; its result."""
    does, happened = getattr(CassandraSession, method), list[object]()

    def first(self: CassandraSession, cql: str, *more: Any, **told: Any) -> Any:
        if cql.startswith(verb) and not happened:
            happened.append(None)
            happened[0] = happens()
        return does(self, cql, *more, **told)

    patch.setattr(CassandraSession, method, first)
    return happened

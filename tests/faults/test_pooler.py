"""Through pgbouncer in transaction mode: no session is the same for two transactions, and all works."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from clearwell.destinations.platform_positions import PlatformPositions
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.errors import ConfigError
from clearwell.postgres_connection import BoundedConnection
from clearwell.registry import Registry
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE, PostgresCase, batches_of, expected, fields_of, some_events
from tests.support.pooler import pooler_to


@pytest.fixture
def address(stack: Settings) -> Iterator[str]:
    with pooler_to(stack.postgres) as url:
        yield url


def test_it_is_noticed(address: str, stack: Settings) -> None:
    with BoundedConnection.open(address) as pooled, BoundedConnection.open(stack.postgres) as direct:
        assert (pooled.pooled, direct.pooled) == (True, False)
        pids = {pooled.execute("SELECT pg_backend_pid()").fetchone() for _ in range(6)}
        assert len(pids) == 3, "the test's pooler gives the same session again"


def test_a_destination_delivers_each_event_once(address: str, stack: Settings, unique: Callable[[str], str]) -> None:
    case, group = PostgresCase(stack, unique("pooled")), unique("group")
    destination = PostgresDestination(address, SIMPLE, case.table, group)
    destination.open()
    claim = destination.claim("clean-a", 0, 1)
    events = some_events(random.Random(14), 400, 60)
    for batch in batches_of(events, claim, 20):
        destination.write(batch)
        destination.write(batch)  # its answer was lost
    wanted = sorted((event.id, event.number) for event in expected(events).values())
    assert sorted(fields_of(case.rows(), "id", "number")) == wanted
    (account,) = destination.accounts("clean-a")
    assert (account.next_offset, account.delivered) == (400, 400)
    assert destination.is_there() and destination.row_count() == len(wanted)
    destination.close()


def test_the_registry_and_positions(address: str, unique: Callable[[str], str]) -> None:
    registry = Registry(address)
    for number in range(8):
        with registry.connection() as connection:
            assert connection.execute(text("SELECT :n + 0"), {"n": number}).scalar_one() == number
            assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "10s"
    registry.close()
    positions = PlatformPositions(address, unique("group"))
    positions.create()
    assert [positions.claim("clean-a", 0, n).epoch for n in (1, 2, 3)] == [1, 2, 3]
    positions.close()


def test_what_needs_a_session_says_so(address: str, stack: Settings) -> None:
    from dataclasses import replace

    from clearwell.features.feast_store import changing_store

    with pytest.raises(ConfigError, match="through pgbouncer"), changing_store(replace(stack, postgres=address)):
        pass

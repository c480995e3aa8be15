"""Open connections that swallow: each client gives the call up within its bound, says so, and goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from clearwell.deadline import VARIABLE
from clearwell.destinations.mongo.destination import MongoDestination
from clearwell.destinations.platform_positions import PlatformPositions
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.protocol import Destination
from clearwell.destinations.sql.destination import SqlConfig, SqlDestination
from clearwell.errors import Retryable
from clearwell.registry import Registry
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE, START, Event, batch_of
from tests.support.swallow import Swallower, swallower_to

SECONDS = 1.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(SECONDS))


@pytest.fixture
def postgres(stack: Settings) -> Iterator[tuple[str, Swallower]]:
    yield from _through(stack.postgres)


@pytest.fixture
def mongo(stack: Settings) -> Iterator[tuple[str, Swallower]]:
    yield from _through(stack.mongo)


def _through(url: str) -> Iterator[tuple[str, Swallower]]:
    port = urlsplit(url).port
    assert port is not None
    with swallower_to(port) as way:
        yield url.replace(f":{port}", f":{way.port}"), way


def goes_on(destination: Destination, way: Swallower) -> None:
    """A write over connections that swallow is given up soon, and is done on a new one, once."""
    destination.open()
    claim = destination.claim("clean-a", 0, 1)
    first, second = Event("a", START, 1, raw_offset=0), Event("b", START, 2, raw_offset=1)
    destination.write(batch_of([first], claim, 1))
    assert way.swallow() > 0
    began = time.monotonic()
    batch = batch_of([second], claim, 2)
    for _ in range(5):
        try:
            destination.write(batch)
            break
        except Retryable:
            assert time.monotonic() - began < 20, "it was not given up within its bound"
    else:
        pytest.fail("it never went on")
    (account,) = destination.accounts("clean-a")
    assert (account.next_offset, account.delivered) == (2, 2)
    assert destination.row_count() == 2
    destination.close()


def test_postgres(postgres: tuple[str, Swallower], unique: Callable[[str], str]) -> None:
    url, way = postgres
    goes_on(PostgresDestination(url, SIMPLE, unique("swallowed"), unique("group")), way)


def test_sql(postgres: tuple[str, Swallower], unique: Callable[[str], str]) -> None:
    url, way = postgres
    goes_on(SqlDestination(SqlConfig(url=url), SIMPLE, unique("swallowed"), unique("group")), way)


def test_mongo(mongo: tuple[str, Swallower], unique: Callable[[str], str]) -> None:
    url, way = mongo
    url += f"{'&' if '?' in url else '?'}directConnection=true"  # else the server names itself, and not the way
    goes_on(MongoDestination(url, SIMPLE, unique("swallowed"), unique("group")), way)


def test_positions(postgres: tuple[str, Swallower], unique: Callable[[str], str]) -> None:
    url, way = postgres
    positions = PlatformPositions(url, unique("group"))
    positions.create()
    way.swallow()
    with pytest.raises(Retryable, match="has not answered for 1 s"):
        positions.claim("clean-a", 0, 1)
    assert positions.claim("clean-a", 0, 1).epoch == 1
    positions.close()


def test_the_registry(postgres: tuple[str, Swallower]) -> None:
    """Of all its connections, those that are kept and the one that is in a transaction."""
    url, way = postgres
    registry = Registry(url)

    def ask() -> Any:
        with registry.connection() as connection:
            return connection.execute(text("SELECT 1")).scalar_one()

    assert ask() == 1
    with pytest.raises(Retryable, match="has not answered for 1 s"), registry.connection() as connection:
        connection.execute(text("SELECT 1"))
        way.swallow()
        connection.execute(text("SELECT 1"))
    way.swallow()
    began = time.monotonic()
    while True:
        try:
            assert ask() == 1
            break
        except Retryable:
            assert time.monotonic() - began < 20
    registry.close()

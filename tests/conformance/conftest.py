"""Each case of a destination runs over each store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from clearwell.contract.model import CleanSchema
from clearwell.destinations.protocol import Destination
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE, MemoryCase, MongoCase, Opener, PostgresCase, StoreUnderTest


@pytest.fixture(params=["memory", "postgres", "mongo"])
def store(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> StoreUnderTest:
    """A table or collection for the test alone."""
    if request.param == "memory":
        return MemoryCase()
    settings: Settings = request.getfixturevalue("stack")
    return (PostgresCase if request.param == "postgres" else MongoCase)(settings, unique("events"))


@pytest.fixture
def opened(store: StoreUnderTest, unique: Callable[[str], str]) -> Iterator[Opener]:
    """`opened()` is a new, open destination on the case's store; `group` and `schema` may be given."""
    made: list[Destination] = []
    usual = unique("group")

    def make(group: str = usual, schema: CleanSchema = SIMPLE) -> Destination:
        destination = store.destination(schema, group)
        made.append(destination)
        destination.open()
        return destination

    yield make
    for destination in made:
        destination.close()

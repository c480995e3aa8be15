"""Routes become destinations without connecting; every destination of the language can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.contract.model import Route
from clearwell.contract.routes import KINDS, Name
from clearwell.destinations.mongo.destination import MongoDestination
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.errors import ConfigError
from clearwell.plugins.routes import open_destination
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE

SERVERS = Settings("k:1", "postgresql://u:pw-canary@h/d", "mongodb://u:pw-canary@h/d", Path(), Path(), Path())


def test_a_destination_is_made_without_connecting() -> None:
    made = open_destination(SERVERS, Route("postgres", options={"table": "t"}), SIMPLE, "group")
    assert isinstance(made, PostgresDestination)
    assert isinstance(open_destination(SERVERS, Route("mongo"), SIMPLE, "group"), MongoDestination)


STORES = KINDS.keys() - {"archive"}  # that one is filled by a service of its own
OWN = sorted(name for name in STORES if KINDS[name].name is not Name.MUST or name == "features")


@pytest.mark.parametrize("name", OWN)
def test_every_destination_of_the_language_can_be_made(name: str) -> None:
    view = Route(f"{name}.view", options={"entity": "id", "features": {"latest": "number"}})
    route = view if name == "features" else Route(name)
    assert open_destination(SERVERS, route, SIMPLE, "group").kind == name


@pytest.mark.parametrize("name", sorted(STORES - set(OWN)))
def test_the_others_are_registered_first(name: str) -> None:
    with pytest.raises(ConfigError, match=f"register one, and write `to: {name}.<name>`"):
        open_destination(SERVERS, Route(name), SIMPLE, "group")


def test_any_other_is_refused() -> None:
    with pytest.raises(ConfigError, match="no kind of destination"):
        open_destination(SERVERS, Route("mongod"), SIMPLE, "group")

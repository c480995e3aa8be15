"""Routes become destinations without connecting; every destination of the language can be made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
from msgspec import Meta

from clearwell.contract.load import parse
from clearwell.contract.model import Route
from clearwell.contract.route_options import RouteOptions, destination_kinds, options_class
from clearwell.destinations.mongo.destination import MongoDestination
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.errors import ConfigError, ContractError
from clearwell.plugins.kinds import destination_class
from clearwell.plugins.open_destination import open_destination
from clearwell.settings import Settings
from clearwell.steps import bind
from clearwell.testing.contracts import MINIMAL
from tests.conformance.stores import SIMPLE

SERVERS = Settings("k:1", "postgresql://u:pw-canary@h/d", "mongodb://u:pw-canary@h/d", Path(), Path(), Path())


def test_a_destination_is_made_without_connecting() -> None:
    made = open_destination(SERVERS, Route("postgres", options={"table": "t"}), SIMPLE, "group")
    assert isinstance(made, PostgresDestination)
    assert isinstance(open_destination(SERVERS, Route("mongo"), SIMPLE, "group"), MongoDestination)


STORES = set(destination_kinds()) - {"archive"}  # that one is filled by a service of its own
OWN = sorted(name for name in STORES if name == "features" or not getattr(options_class(name), "needs_name", True))


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_destination_and_the_contracts_language_know_the_same_options(name: str) -> None:
    assert destination_class(name).Options is options_class(name)


def test_what_a_route_says_is_known_without_a_driver() -> None:
    drivers = "psycopg pymongo deltalake cassandra opensearchpy sqlalchemy aiokafka kafka pyarrow"
    code = (
        "import sys; from clearwell.contract.route_options import destination_kinds, options_class\n"
        "assert all(map(options_class, destination_kinds()))\n"
        f"assert not set('{drivers}'.split()) & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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


def test_options_of_a_kind_that_others_bring_are_judged_in_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign(RouteOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
        needs_name: ClassVar[bool] = True

        room: Annotated[int | None, Meta(description="Which.")] = None

    monkeypatch.setattr("clearwell.contract.routes.options_class", {"theirs": Foreign}.get)
    monkeypatch.setattr("clearwell.contract.routes.destination_kinds", lambda: ["theirs"])
    for route, wrong in (
        ("{to: theirs, room: 1}", "needs a name"),
        ("{to: theirs.x, roon: 1}", 'no option "roon". Did you mean "room"'),
        ("{to: theirs.x, room: far}", "`room` of the route to theirs.x: Expected `int | null`, got `str`"),
    ):
        with pytest.raises(ContractError, match=re.escape(wrong)):
            bind(parse(f"{MINIMAL}routes:\n  - {route}\n", "visits/v1.yaml"))

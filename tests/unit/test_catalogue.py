"""Routes: what may be written in a contract, and what a person is told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.contract.load import parse
from clearwell.contract.model import Contract, Route
from clearwell.destinations.catalogue import check_routes, open_destination
from clearwell.destinations.mongo import MongoDestination
from clearwell.destinations.postgres import PostgresDestination
from clearwell.errors import ConfigError, ContractError
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE

SERVERS = Settings("k:1", "postgresql://u:pw-canary@h/d", "mongodb://u:pw-canary@h/d", Path(), Path(), Path())


def contract_with(routes: str, stream: str = "things") -> Contract:
    head = f"stream: {stream}\nversion: 1\nowner: o@example.com\nkey: id\nevent_id: id\nevent_time: at\n"
    fields = "fields:\n  id: {type: string, required: true}\n  at: {type: timestamp, required: true}\n"
    return parse(f"{head}{fields}routes:\n{routes}", "things/v1.yaml")


@pytest.mark.parametrize(
    "routes",
    ["  - {to: postgres}\n", "  - {to: postgres, table: Things_2}\n  - {to: mongo, collection: things}\n"],
)
def test_good_routes(routes: str) -> None:
    check_routes(contract_with(routes))


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ("  - {to: postgress}\n", r'v1.yaml:11: There is no destination "postgress".*Did you mean "postgres"\?'),
        ("  - to: postgres\n    tabel: x\n", r'v1.yaml:12: .*no option "tabel".*Did you mean "table"\?'),
        ("  - {to: mongo, collection: a-b}\n", 'v1.yaml:11: "a-b" can\'t be a collection'),
        ("  - {to: mongo, collection: 5}\n", '"5" can\'t be a collection'),
        ("  - {to: mongo}\n  - {to: mongo, collection: b}\n", "v1.yaml:12: There is a route to .mongo. already"),
    ],
)
def test_bad_routes_are_named_with_their_line(routes: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        check_routes(contract_with(routes))


def test_a_destination_is_made_without_connecting() -> None:
    made = open_destination(SERVERS, Route("postgres", options={"table": "t"}), SIMPLE, "group")
    assert isinstance(made, PostgresDestination)
    assert isinstance(open_destination(SERVERS, Route("mongo"), SIMPLE, "group"), MongoDestination)


@pytest.mark.parametrize("route", [Route("mongod"), Route("mongo", options={"tabel": "x"})])
def test_a_bad_route_makes_none(route: Route) -> None:
    with pytest.raises(ConfigError, match="no "):
        open_destination(SERVERS, route, SIMPLE, "group")

"""A route to the archive is one of raw events: apart from those of clean ones, and without a condition."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.contract.load import parse
from clearwell.errors import ContractError
from clearwell.steps import bind

FLIGHTS = (Path(__file__).parents[3] / "schemas" / "flights" / "v1.yaml").read_text()


def with_route(text: str) -> str:
    """The flights contract with one more route, before its others."""
    return FLIGHTS.replace("routes:\n", f"routes:\n  - {text}\n")


def test_it_is_no_route_of_clean_events() -> None:
    contract = parse(with_route("{to: archive.cold}"), "v1.yaml")
    bind(contract)
    assert [(one.kind, one.name) for one in contract.archives] == [("archive", "cold")]
    assert contract.routes == parse(FLIGHTS, "v1.yaml").routes


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("{to: archive, when: {field: carrier, eq: UA}}", "raw events are sealed before they are read"),
        ("{to: archive, table: flights}", 'has no option "table"'),
        ("{to: archiv}", 'Did you mean "archive"'),
    ],
)
def test_what_it_can_not_have(route: str, said: str) -> None:
    line = next(at for at, text in enumerate(FLIGHTS.splitlines(), 2) if text == "routes:")
    with pytest.raises(ContractError) as error:
        bind(parse(with_route(route), "v1.yaml"))
    assert said in str(error.value) and f"v1.yaml:{line}" in str(error.value)


def test_two_of_them_are_one_too_many() -> None:
    with pytest.raises(ContractError, match="two routes to archive"):
        bind(parse(with_route("{to: archive}\n  - {to: archive}"), "v1.yaml"))


def test_lines_of_the_other_routes_are_still_right() -> None:
    text = with_route("{to: archive}").replace("{to: mongo", "{to: mongoo")
    line = next(at for at, one in enumerate(text.splitlines(), 1) if "mongoo" in one)
    with pytest.raises(ContractError, match=f"v1.yaml:{line}"):
        bind(parse(text, "v1.yaml"))

"""The reference page says what the destinations say of themselves."""

from __future__ import annotations

from pathlib import Path

from clearwell.contract.route_options import DESTINATIONS
from clearwell.plugins.kinds import kinds
from clearwell.plugins.options import describe_destination, route_options
from clearwell.plugins.reference import destinations_markdown

ROOT = Path(__file__).parents[3]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/reference/destinations.md").read_text() == destinations_markdown()


def test_every_option_of_every_destination_is_told_of() -> None:
    for name in kinds(DESTINATIONS):
        options = (*describe_destination(name).options, *route_options(name))
        silent = [option.name for option in options if not option.text and "." not in option.name]
        assert not silent, f"{name} does not tell of {silent}"

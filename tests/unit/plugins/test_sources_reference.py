"""The reference page says what the sources say of themselves."""

from __future__ import annotations

from pathlib import Path

from clearwell.plugins.kinds import kinds
from clearwell.plugins.options import describe_source
from clearwell.plugins.reference import sources_markdown

ROOT = Path(__file__).parents[3]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/reference/sources.md").read_text() == sources_markdown()


def test_every_option_of_every_source_is_told_of() -> None:
    for name in kinds():
        silent = [option.name for option in describe_source(name).options if not option.text and "." not in option.name]
        assert not silent, f"{name} does not tell of {silent}"

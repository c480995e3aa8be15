"""Patterns that could be made to run for minutes are refused; ordinary ones are not."""

from __future__ import annotations

import pytest

from clearwell.contract.patterns import compile_pattern

EXPLOSIVE = ["(a+)+", "(a*)*b", "(a|a)*b", "(a|aa)+", "([a-z]+)*", "(.*,)*x", "((a+)b?)*c", "(?:x{1,20}){1,20}"]
EXPLOSIVE += ["(\\w+\\s?)*$", "(a|ab|b)+c", "(?:(?:a+)+)"]

ORDINARY = ["[A-Z]{3}", "a+b+", "([A-Z]+-)*[A-Z]+", "(,[0-9]+)*", "[^@]+@[^@]+", "(?:[0-9]{1,3}\\.){3}[0-9]{1,3}"]
ORDINARY += ["(foo|bar)", "(?:a|b)+", "\\d{4}-\\d{2}", "(red|green|blue)*", "a?b*c+", "N[0-9]{1,5}[A-Z]{0,2}"]

NONE = ["(", "[", "a{2,1}", "(?P<a>x)(?P<a>y)", "[[a]", "(" * 240 + ")" * 240 + "(", "x" * 501]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_explosive_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="exponential"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ORDINARY)
def test_ordinary_patterns_are_fine(pattern: str) -> None:
    assert compile_pattern(pattern).pattern == pattern


@pytest.mark.parametrize("pattern", NONE)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="is "):
        compile_pattern(pattern)

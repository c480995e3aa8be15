"""Patterns of contracts: RE2's language, told where it differs from Python's; time grows with the value alone."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearwell.contract.patterns import MAX_REPLACED, WORK, TooMuchWork, compile_pattern
from clearwell.steps.text import MOST_MARKS, normalize

EXPLOSIVE = [
    "(a+)+",
    "(a*)*b",
    "(a|a)*b",
    "(a|aa)+",
    "(.*,)*x",
    "(?:x{1,20}){1,20}",
    r"(\w+\s?)*$",
    "(?i)(a|A)*b",
    "a?" * 40 + "a" * 40,
]
"""Exponential or polynomial in an engine that tries one way after the other."""

REFUSED = [
    ("(?=a)b", "look-around"),
    ("(?!a)b", "look-around"),
    ("(?<=a)b", "look-around"),
    ("(?<!a)b", "look-around"),
    (r"(a)\1", "a back-reference"),
    (r"(?P<n>a)(?P=n)", "a back-reference"),
    ("(a)?(?(1)b|c)", "a conditional group"),
    ("(?>a+)b", "an atomic group or possessive repeat"),
    ("a++b", "an atomic group or possessive repeat"),
    (r"a\Z", r"leave it out of a field's pattern.*\\z"),
    (r"\u00e9", r"write \\x"),
    (r"\N{DIGIT ONE}", r"write \\x"),
    ("(?a)a", "a flag but"),
    ("(?x) a", "a flag but"),
    ("(?#say)a", "a comment"),
    ("a{,3}", r'write "\{0,3\}"'),
    (r"\C", r"write \"\(\?s:\.\)\""),
    ("a{1001}", "not a regular expression"),
    ("(", "not a regular expression"),
    ("[a", "not a regular expression"),
    ("a{2,1}", "not a regular expression"),
    (r"\p{L}{400}", "too large"),
    ("\ud800", "half of a character"),
    ("x" * 501, "longer than 500"),
]

DIFFERENT = [
    # pattern, value, whether it matches: where Python would say otherwise, or one might think so
    (r"\d+", "12", True),
    (r"\d+", "٣", False),
    (r"\w+", "é", False),
    (r"[\w]+", "é", False),
    (r"\p{L}+", "é", True),
    (r"\pN", "٣", True),
    (r"\s", "\u00a0", False),
    ("a$", "a\n", False),
    ("a", "a\n", False),
    (r"^a$\z", "a", True),
    (r"\Aa\z", "a", True),
    ("(?m)^a$", "a\n", False),
    ("a.c", "a\nc", False),
    ("(?s)a.c", "a\nc", True),
    (".", "😀", True),
    ("(?i)straße", "STRAßE", True),
    ("(?i)straße", "STRASSE", False),
    ("(?i)k", "\u212a", True),
    ("(?i)[a-z]", "ſ", True),
    ("(?i:a)b", "AB", False),
    ("[[:alpha:]]+", "ab", True),
    (r"\{,3\}", "{,3}", True),
    ("[{,3}]", ",", True),
    (r"\Qa.b\E", "a.b", True),
    (r"\Q{,3}\E", "{,3}", True),
    ("(?P<n>a)", "a", True),
    ("", "", True),
    ("a", "\0", False),
]


@pytest.mark.parametrize("pattern", EXPLOSIVE)
def test_no_pattern_takes_longer_than_its_value_is_long(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    began = time.thread_time()
    for value in ("a" * 300_000 + "!", "a@" * 150_000, "x" * 300_000):
        compiled.fullmatch(value[: compiled.longest])
    assert time.thread_time() - began < 1


def test_the_value_that_stopped_a_stream_takes_milliseconds() -> None:
    compiled = compile_pattern(r"[^@\s]+@[^@\s]+\.[^@\s]+")
    began = time.thread_time()
    assert not compiled.fullmatch("a@" + "." * 300_000 + "@")
    assert compiled.fullmatch("a@" + "." * 300_000)
    assert time.thread_time() - began < 0.2


def test_a_value_may_be_as_long_as_the_pattern_allows() -> None:
    assert compile_pattern(".*[a-q].{500}xx").longest < WORK / 4_000
    assert compile_pattern(r"[^@\s]+@[^@\s]+\.[^@\s]+").longest > 1_048_576
    assert compile_pattern(r"\p{L}{1,100}").longest > 1_000


@pytest.mark.parametrize(("pattern", "said"), REFUSED)
def test_what_there_is_not_is_refused_with_the_way_out(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compile_pattern(pattern)


@pytest.mark.parametrize(("pattern", "value", "matches"), DIFFERENT)
def test_what_a_pattern_means(pattern: str, value: str, matches: bool) -> None:
    assert compile_pattern(pattern).fullmatch(value) is matches


COMMON = st.from_regex(r"(\[[a-cé😀]{1,2}\]|[a-cé😀.]|\(b\|cé?\))[*+?]?(a|\[\^b\]|c{1,2})?\$?", fullmatch=True)
VALUES = st.text("abcé😀\n", max_size=12)


@settings(max_examples=400, deadline=None)
@given(COMMON, VALUES)
def test_where_the_languages_agree_so_do_the_answers(pattern: str, value: str) -> None:
    assert compile_pattern(pattern).fullmatch(value) == (re.fullmatch(pattern.replace("$", r"\Z"), value) is not None)


@settings(max_examples=400, deadline=None)
@given(COMMON, VALUES, st.sampled_from(["", "-", "é", r"\1", r"\g<0>", "\\", "$0"]))
def test_replacements_are_pythons(pattern: str, value: str, by: str) -> None:
    assert compile_pattern(pattern).replace(value, by) == re.sub(pattern.replace("$", r"\Z"), lambda _: by, value)


@pytest.mark.parametrize(
    ("pattern", "value", "result"),
    [
        ("x*", "abxd", "-a-b--d-"),
        ("$", "ab", "ab-"),
        ("^", "ab", "-ab"),
        ("", "é😀", "-é-😀-"),
        (r"\b", "a b", "-a- -b-"),
    ],
)
def test_empty_matches(pattern: str, value: str, result: str) -> None:
    assert compile_pattern(pattern).replace(value, "-") == result


def test_a_replacement_takes_seconds_at_most_and_grows_within_bounds() -> None:
    began = time.thread_time()
    with pytest.raises(TooMuchWork):
        compile_pattern("a.*b|a").replace("a" * 1_000_000, "")  # looks through the rest of the text at each match
    assert time.thread_time() - began < 4
    with pytest.raises(TooMuchWork):
        compile_pattern("a").replace("a" * 100_000, "b" * 1_000)
    assert len(compile_pattern("a").replace("a" * 8_000, "b" * 1_000)) <= MAX_REPLACED


def test_marks_in_a_row_can_not_cost_the_square_of_their_number() -> None:
    fine = "a" + "\u0301\u0316" * (MOST_MARKS // 2)
    assert normalize("NFC", fine).startswith("\u00e1\u0316")
    began = time.thread_time()
    with pytest.raises(TooMuchWork):
        normalize("NFC", "b" * 10 + "\u0301\u0316" * 250_000)
    assert normalize("NFD", "\u00e9" * 300_000) == "e\u0301" * 300_000
    assert time.thread_time() - began < 1

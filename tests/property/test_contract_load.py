"""Whatever a file holds, loading it gives a contract or a ContractError that names the file; nothing else."""

from __future__ import annotations

import contextlib
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearwell.contract.condition import check_condition, compile_condition, read_condition
from clearwell.contract.fields import FIELD
from clearwell.contract.language import CONTRACT, EXAMPLE, LIMITS, ROUTE
from clearwell.contract.load import parse
from clearwell.contract.model import CleanSchema, Condition, Field, Op, Type
from clearwell.contract.patterns import compile_pattern
from clearwell.contract.privacy import PrivacyKind
from clearwell.contract.problems import Problems
from clearwell.errors import ContractError, Location
from clearwell.testing.contracts import MINIMAL

FILE = "visits/v1.yaml"
WORDS = [*CONTRACT.keys, *FIELD.keys, *ROUTE.keys, *LIMITS.keys, *EXAMPLE.keys, *map(str, [*Op, *Type, *PrivacyKind])]
WORDS += ["field", "trim", "id", "at", "n"]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=10)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | LEAVES, inner, max_size=5),
    max_leaves=20,
)


def attempt(text: str) -> None:
    try:
        parse(text, FILE)
    except ContractError as error:
        assert str(error).startswith(FILE + ":")
        assert str(error).isprintable() or "\n" in str(error)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    attempt(text)


@given(st.text("[]{}:,-?&*!|>'\"%@`#\n\t ab1.", max_size=100))
def test_any_text_of_the_signs_of_yaml(text: str) -> None:
    attempt(text)
    attempt(MINIMAL + text)


@given(VALUES)
def test_any_tree(value: Any) -> None:
    attempt(yaml.safe_dump(value, allow_unicode=True))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_right_contract_with_one_part_replaced(data: st.DataObject) -> None:
    whole = yaml.load(MINIMAL, Loader=yaml.BaseLoader) | {"version": 1}
    target = data.draw(st.sampled_from([whole, whole["fields"], *whole["fields"].values()]))
    target[data.draw(st.sampled_from([*target, *WORDS]))] = data.draw(VALUES)
    attempt(yaml.safe_dump(whole))


@given(st.integers(0, len(MINIMAL)), st.integers(0, len(MINIMAL)), st.text(max_size=5))
def test_a_right_contract_with_a_piece_replaced(start: int, end: int, piece: str) -> None:
    attempt(MINIMAL[: min(start, end)] + piece + MINIMAL[max(start, end) :])


FIELDS = (Field("n", Type.INT32), Field("at", Type.TIMESTAMP), Field("id", Type.STRING))
SCHEMA = CleanSchema("s", 1, FIELDS, ("id",), "id", "at")
HERE = Location(FILE, 1)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner)))
def test_any_condition_is_read_or_refused(value: Any) -> None:
    problems = Problems()
    found = read_condition(value, HERE, {}, problems)
    assert (found is None) == bool(len(problems))
    if found is not None:
        again = Problems()
        assert (check_condition(found, {one.name: one for one in FIELDS}, HERE, again) is None) == bool(len(again))


COMPARISONS = st.builds(
    lambda op, value: {"field": "n", op: value},
    st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte"]),
    st.integers(-3, 3),
) | st.builds(lambda flag: {"field": "n", "exists": flag}, st.booleans())
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds(lambda part: {"not": part}, inner)
        | st.builds(
            lambda op, parts: {op: parts}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)
        )
    ),
    max_leaves=8,
)


@given(CONDITIONS, st.none() | st.integers(-4, 4))
def test_a_condition_and_its_not_are_opposites(written: Any, value: int | None) -> None:
    def holds(one: Any) -> bool:
        found = read_condition(one, HERE, {}, Problems())
        assert isinstance(found, Condition)
        return compile_condition(found, SCHEMA)((value, None, None))

    assert holds(written) is not holds({"not": written})
    assert type(holds(written)) is bool


@given(st.text("ab()[]{}|*+?.,1-9\\^$", max_size=25))
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    with contextlib.suppress(ValueError):
        compile_pattern(pattern)

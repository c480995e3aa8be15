"""Partitions are shared evenly, and each member keeps what its model is at work on."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from clearwell.kafka.shares_assignor import shares


def test_who_comes_takes_what_another_has_too_much_of_and_not_what_it_is_at_work_on() -> None:
    assert shares(range(4), {"a": [3, 0, 1, 2], "b": []}) == {"a": [0, 3], "b": [1, 2]}
    assert shares(range(3), {"a": [2, 0, 1], "b": []}) == {"a": [0, 2], "b": [1]}


def test_nothing_moves_without_need() -> None:
    held = {"a": [5, 1], "b": [0, 2], "c": [3, 4]}
    assert shares(range(6), held) == {"a": [1, 5], "b": [0, 2], "c": [3, 4]}


def test_a_member_too_many_gets_nothing() -> None:
    assert shares(range(2), {"a": [0], "b": [1], "c": []}) == {"a": [0], "b": [1], "c": []}


@given(st.integers(0, 12), st.integers(1, 6), st.integers(0, 10**6))
def test_each_partition_goes_to_one_member_and_shares_differ_by_one(partitions: int, members: int, seed: int) -> None:
    chance = random.Random(seed)
    claims = {f"m{number}": chance.sample(range(14), chance.randint(0, 14)) for number in range(members)}
    given = shares(range(partitions), claims)
    assert sorted(partition for some in given.values() for partition in some) == list(range(partitions))
    assert max(map(len, given.values())) - min(map(len, given.values())) <= 1
    assert given.keys() == claims.keys()

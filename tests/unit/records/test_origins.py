"""Which clean records raw explains, and which are forged."""

from __future__ import annotations

from clearwell.errors import Retryable
from clearwell.records.origins import Origins


def origins(ends: dict[int, int]) -> Origins:
    made = Origins(lambda: ("now", ends))
    made.refresh()
    return made


def test_an_offset_at_or_beyond_raws_end_is_forged() -> None:
    ours = origins({0: 10})
    assert ours.explain(0, ["now", "now"], [0, 9])
    assert ours.explained(0, ["now"] * 5, [9, 10, 9 * 10**18, -1, 0], ["now"]) == [True, False, False, False, True]
    assert not ours.explain(0, ["now"], [10])
    assert not ours.explain(1, ["now"], [0]), "a partition that raw has not got"


def test_records_of_an_older_raw_topic_come_before_those_of_the_one_that_took_its_place() -> None:
    ours = origins({0: 10})
    assert ours.explained(0, ["old", "now", "old"], [500, 0, 501], []) == [True, True, False]
    assert ours.explained(0, ["old"], [501], {"now": 3}) == [False]


def test_raw_is_asked_again_until_it_answers() -> None:
    answers = iter([Retryable("away."), ("now", {0: 1}), ("now", {0: 2})])

    def ask() -> tuple[str, dict[int, int]]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ours = Origins(ask)
    ours.refresh()
    assert (ours.explain(0, ["now"], [0]), ours.explain(0, ["now"], [1])) == (True, False)
    ours.refresh()
    assert ours.explain(0, ["now"], [1])

"""`rejected N of last M` counts over offsets of one partition, and a restart forgets nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearwell.contract.model import RejectionLimits
from clearwell.errors import Fatal
from clearwell.worker.rejection_limit import RejectedEvent, RejectionCounter, TooManyRejected

TOLD = "rejected. Look at the dead letters"


def bad(*offsets: int, connector: str = "") -> list[RejectedEvent]:
    return [(offset, connector) for offset in offsets]


def test_up_to_n_of_m_pass() -> None:
    rule = RejectionCounter(RejectionLimits(rejected=3, of_last=10), TOLD, 0)
    rule.count(9, bad(1, 4, 9))
    rule.count(14, bad(12, 14))  # 1 and 4 are out of the window by now


def test_one_more_stops_and_says_what_to_do() -> None:
    rule = RejectionCounter(RejectionLimits(rejected=3, of_last=10), TOLD, 0)
    with pytest.raises(Fatal, match=r"more than 3 of the last 10 events were rejected.*dead letters"):
        rule.count(9, bad(1, 4, 8, 9))


def test_a_restart_remembers_the_letters_already_written() -> None:
    rule = RejectionCounter(RejectionLimits(rejected=3, of_last=10), TOLD, 20, bad(5, 15, 16, 19))
    with pytest.raises(Fatal):
        rule.count(20, bad(20))


def test_an_offset_that_comes_again_is_counted_once() -> None:
    rule = RejectionCounter(RejectionLimits(rejected=3, of_last=10), TOLD, 0)
    for _ in range(9):
        rule.count(4, bad(4))
    rule.count(9, bad(4, 5, 6))


def test_who_sent_most_of_it_is_named_and_can_be_forgiven() -> None:
    rule = RejectionCounter(RejectionLimits(rejected=3, of_last=100), TOLD, 0, bad(1, connector="good"))
    events = [*bad(2, 3, 5, connector="bad"), *bad(6, 7, connector="good"), *bad(8)]
    with pytest.raises(TooManyRejected) as stopped:
        rule.count(9, events)
    assert stopped.value.connector == "bad"
    rule.forgive("bad")
    with pytest.raises(TooManyRejected) as again:
        rule.count(9, events)  # 1, 6, 7 and 8 are left: goes on where it was
    assert again.value.connector == "good"
    rule.forgive("good")
    rule.count(9, events)


def test_nobody_is_named_who_sent_half_of_it() -> None:
    rule = RejectionCounter(RejectionLimits(rejected=3, of_last=100), TOLD, 0, bad(1, 2, connector="some"))
    with pytest.raises(TooManyRejected) as stopped:
        rule.count(9, bad(3, 4, connector="others"))
    assert stopped.value.connector == ""


@given(st.sets(st.integers(0, 200)), st.integers(0, 5), st.integers(1, 30), st.integers(1, 40))
def test_the_verdict_does_not_depend_on_how_the_log_was_sliced(
    rejected: set[int], allowed: int, window: int, size: int
) -> None:
    limits = RejectionLimits(rejected=allowed, of_last=window)

    def stopped_at(size: int) -> bool:
        rule = RejectionCounter(limits, TOLD, 0)
        try:
            for start in range(0, 201, size):
                end = min(start + size, 201)
                rule.count(end - 1, bad(*sorted(offset for offset in rejected if start <= offset < end)))
        except Fatal:
            return True
        return False

    def too_many() -> bool:
        return any(sum(at - window < other <= at for other in rejected) > allowed for at in rejected)

    assert stopped_at(size) == too_many()

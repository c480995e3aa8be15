"""Bisection killed between any two calls, and tried again after any of them: each row is stored or buried, once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.destinations.protocol import Claim, CleanBatch, RowReason, RowsRefused
from clearwell.errors import Fatal, Retryable
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, batch_of
from clearwell.worker.bisection import Bisection
from clearwell.worker.destination_writer import join

COUNT = 23
BAD = {0, 7, 8, 22}
EVENTS = [CleanEvent(f"k{n}", START, n, raw_offset=100 + n) for n in range(COUNT)]


class Killed(BaseException):
    """The process is gone."""


class World:
    """A store and a dead topic; `at` is the call that fails by `failure`, before or after it has done its work."""

    def __init__(self, failure: type[BaseException] = Killed, at: int = -1, after: bool = False) -> None:
        self.store = MemoryStore()
        self.letters: list[int] = []
        self.calls = 0
        self._failure, self._at, self._after = failure, at, after

    def opened(self) -> MemoryDestination:
        made = MemoryDestination(self.store, SIMPLE, "group")
        write = made.write
        made.write = lambda batch: self._call(lambda: write(batch))  # type: ignore[method-assign]
        return made

    def dead_letter(self, batch: CleanBatch, error: RowsRefused) -> None:
        assert error.reason is RowReason.CONSTRAINT
        (offset,) = batch.offsets
        self._call(lambda: self.letters.append(offset))

    def _call(self, work: Callable[[], Any]) -> None:
        self.calls += 1
        hit = self.calls == self._at
        if hit and not self._after:
            raise self._failure("before")
        try:
            work()
        finally:
            if hit:  # the answer, a refusal too, is lost
                raise self._failure("after")


def rest_of(claim: Claim) -> deque[CleanBatch]:
    """What is left to deliver; the poison has no key."""
    events = EVENTS[claim.next_offset :]
    rows = [(None, *e.row[1:]) if e.raw_offset - 100 in BAD else e.row for e in events]
    return deque([batch_of(events, claim, COUNT, rows=rows)])


def check(world: World, claim: Claim) -> None:
    assert set(world.store.rows) == {f"k{n}" for n in range(COUNT) if n not in BAD}
    assert set(world.letters) == BAD
    assert sorted(world.letters) == world.letters, "in order"
    (found,) = MemoryDestination(world.store, SIMPLE, "group").accounts(TOPIC)
    assert (found.next_offset, found.delivered, found.refused) == (COUNT, COUNT - len(BAD), len(BAD))
    assert claim.high_watermarks == {"raw-a": 100 + COUNT - 1}


def calls_of_a_quiet_run() -> int:
    world = World()
    destination = world.opened()
    Bisection(destination, world.dead_letter).write(rest_of(destination.claim(TOPIC, 0, 1)))
    check(world, destination.claim(TOPIC, 0, 1))
    return world.calls


CALLS = calls_of_a_quiet_run()


def test_a_poison_row_costs_two_writes_a_halving() -> None:
    world = World()
    destination = world.opened()
    rows = [event.row for event in EVENTS[:16]]
    rows[11] = (None, *rows[11][1:])
    Bisection(destination, world.dead_letter).write(
        deque([batch_of(EVENTS[:16], destination.claim(TOPIC, 0, 1), 16, rows=rows)])
    )
    assert world.calls == 1 + 2 * 4 + 1 + 1  # the whole, four halvings, the letter, the position past it


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_killed_at_any_call(at: int, after: bool) -> None:
    world = World(Killed, at, after)
    destination = world.opened()
    with pytest.raises(Killed):
        Bisection(destination, world.dead_letter).write(rest_of(destination.claim(TOPIC, 0, 1)))
    again = world.opened()
    Bisection(again, world.dead_letter).write(rest_of(again.claim(TOPIC, 0, 2)))
    check(world, again.claim(TOPIC, 0, 2))
    assert len(world.letters) <= len(BAD) + 1, "more than the one row was refused again"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, CALLS + 1))
def test_tried_again_at_any_call(at: int, after: bool) -> None:
    """What was isolated stays so: at most the call that failed is made again."""
    world = World(Retryable, at, after)
    destination = world.opened()
    isolation, parts = Bisection(destination, world.dead_letter), rest_of(destination.claim(TOPIC, 0, 1))
    with pytest.raises(Retryable):
        isolation.write(parts)
    isolation.write(parts)
    check(world, destination.claim(TOPIC, 0, 1))
    assert world.calls <= CALLS + 2


def test_a_refused_position_is_loud() -> None:
    class Odd(MemoryDestination):
        def write(self, batch: CleanBatch) -> None:
            raise RowsRefused(RowReason.CONSTRAINT, "No.")

    destination = Odd(MemoryStore(), SIMPLE, "group")
    parts = deque([replace(batch_of(EVENTS[:1], Claim(1, 0), 1)).without_row()])
    with pytest.raises(Fatal, match="refuses a position"):
        Bisection(destination, World().dead_letter).write(parts)


def test_joined_batches_join_what_was_refused() -> None:
    one = replace(batch_of(EVENTS[:2], Claim(1, 0), 3), refused=[2])
    two = replace(batch_of(EVENTS[3:4], Claim(1, 0), 5), refused=[4])
    assert list(join(one, two).refused) == [2, 4]

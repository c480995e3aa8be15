"""The account of a source: what it counted, beside what Kafka acknowledged, saved with the position (invariant 11)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from clearwell.collector.pump import Pump
from clearwell.collector.rate_limit import Bucket
from clearwell.collector.watch import Watch
from clearwell.registry.positions import NOTHING, Counts, SavedPosition
from clearwell.source import Batch, Count, Refusal, SourceEvent, SourcePosition, refuse


class Place(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many lines were read."""

    line: int


class Lines:
    """A source of prepared batches: (events, position, items read for it)."""

    def __init__(self, batches: Sequence[tuple[list[SourceEvent], Place | None, int]], held: int | None = None) -> None:
        self._batches = batches
        self._held = held
        self._items = 0
        self._ended = False

    async def read(self, after: Any) -> AsyncIterator[Batch]:
        for events, position, items in self._batches:
            self._items += items
            yield events, position
        self._ended = True

    def count(self) -> Count:
        return Count(self._items, self._held if self._ended else None)


class Silent(Lines):
    """One that does not count."""

    count = None  # type: ignore[assignment]


class Sent:
    """A log that takes everything."""

    def begin(self, topic: str, records: Any) -> Sent:
        return self

    def wait(self) -> None:
        """At once."""

    def make(self, events: Any) -> Any:
        return events


def pumped(source: Any) -> list[tuple[Place | None, Counts]]:
    saved: list[tuple[Any, Counts]] = []
    sent = cast(Any, Sent())

    def save(position: Any, counts: Counts) -> None:
        saved.append((position, counts))

    pump = Pump(source, sent, sent, "raw.t", save, Bucket(None), Watch())
    assert asyncio.run(pump.run(None, asyncio.Event()))
    return saved


def events(count: int) -> list[SourceEvent]:
    return [SourceEvent(str(n), b"{}") for n in range(count)]


def test_items_are_saved_with_the_position_beside_what_was_accepted_and_refused() -> None:
    bad = [SourceEvent("a", b"x", Refusal.BINARY), refuse("b", 2_000_000, b"x"), SourceEvent("c", b"x" * 1_048_577)]
    source = Lines([(events(3) + bad, Place(line=6), 6), ([], Place(line=6), 0), (events(1), Place(line=7), 1)], held=7)
    assert pumped(source) == [
        (Place(line=6), Counts(6, 3, 6)),
        (Place(line=7), Counts(1, 0, 1)),
        (Place(line=7), Counts(0, 0, 0, 7)),
    ]


def test_what_has_no_position_is_saved_with_the_next_one_or_at_the_end() -> None:
    begun = [(events(2), None, 2), (events(1), None, 1), (events(4), Place(line=7), 4)]
    assert pumped(Lines(begun)) == [(Place(line=7), Counts(7, 0, 7))]
    assert pumped(Lines(begun[:2])) == [(None, Counts(3, 0, 3))]


class Passing(Lines):
    """One that passes something over from its second batch on."""

    def count(self) -> Count:
        self._asked = getattr(self, "_asked", 0) + 1
        return Count(self._items, None, min(self._asked - 1, 3))


def test_what_is_passed_over_is_saved_when_it_changes_also_before_anything_can_be_read() -> None:
    idle: list[tuple[list[SourceEvent], Place | None, int]] = [([], None, 0)] * 6
    assert pumped(Passing(idle)) == [(None, Counts(0, 0, 0, None, number)) for number in (0, 1, 2, 3)]
    later = pumped(Passing([*idle[:2], (events(2), None, 2), (events(1), Place(line=3), 1)]))
    assert later == [
        (None, Counts(0, 0, 0, None, 0)),
        (None, Counts(0, 0, 0, None, 1)),
        (Place(line=3), Counts(3, 0, 3, None, 3)),
    ], "events without a position are saved with the next one as ever"


def test_items_that_became_no_event_are_in_the_account_also_after_the_last_batch() -> None:
    saved = pumped(Lines([(events(2), Place(line=3), 3), ([], Place(line=4), 1)]))
    whole = sum((counts for _, counts in saved), NOTHING)
    assert (whole.events, whole.read) == (2, 4)


def test_a_source_that_does_not_count_has_no_account() -> None:
    saved = pumped(Silent([(events(2), Place(line=2), 2)]))
    assert saved == [(Place(line=2), Counts(2, 0, None))]


def test_the_parts_of_an_account_add_up_however_it_is_cut() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    parts = [chance.randrange(5) for _ in range(50)]
    batches, line = [], 0
    for part in parts:
        line += part
        batches.append((events(part), Place(line=line) if chance.random() < 0.7 else None, part))
    whole = sum((counts for _, counts in pumped(Lines(batches, held=line))), NOTHING)
    assert whole == Counts(line, 0, line, line), f"seed {seed}"


BEHIND = (
    "The source holds 100 items, but 30 were read: 70 are missing, such as those written behind the position; reset "
    "the connector to read all again."
)


@pytest.mark.parametrize(
    ("counts", "whole", "said"),
    [
        (Counts(10, 2, 10, 10), True, None),
        (Counts(10, 2, None, None), True, None),
        (Counts(10, 2, 10, 8), True, None),  # rows were deleted since
        (Counts(10, 2, 10, 12), False, None),  # a person set the position: what is before it was not to be read
        (
            Counts(10, 2, 13),
            True,
            "The source read 13 items, but 10 events were made of them (8 accepted, 2 refused): 3 are missing.",
        ),
        (
            Counts(11, 0, 10),
            True,
            "The source read 10 items, but 11 events were made of them (11 accepted, 0 refused): 1 are too many.",
        ),
        (
            Counts(30, 0, 30, 100),
            True,
            BEHIND,
        ),
    ],
)
def test_a_difference_is_one_sentence(counts: Counts, whole: bool, said: str | None) -> None:
    assert SavedPosition(3, {"line": 1}, datetime.now(UTC), counts, whole).difference() == said

"""Every event arrives, and the same rows whatever is repeated, shuffled or late (invariants 3, 4 and 5)."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from clearwell.destinations.protocol import Accounts, Claim
from clearwell.testing.destination_base import DestinationBase
from clearwell.testing.destination_cases import Opener, fresh
from clearwell.testing.destination_events import START, TOPIC, CleanEvent, batch_of, some_events


class RowsPart(DestinationBase):
    """A part of `DestinationSuite`."""

    def test_first_load(self, case: Any, opened: Opener) -> None:
        """Into an empty store."""
        events = some_events(1, count=200, keys=70)
        destination = opened()
        assert self.deliver(destination, events) == Claim(epoch=1, next_offset=0), "A new claim holds more."
        self.require(case, destination, events)
        assert destination.accounts(TOPIC) == [Accounts(0, next_offset=200, delivered=200)], "Wrong accounts."
        assert destination.claim(TOPIC, 0, 1) == Claim(2, 200, {"raw-a": 199}), "Another claim does not go on there."

    def test_a_batch_written_again(self, case: Any, opened: Opener) -> None:
        """Nothing is counted or stored twice: the answer to the first write may have been lost."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        batch = batch_of(some_events(2, 40, 20), claim, 60, unrouted=range(40, 54), repeats=range(54, 59), refused=[59])
        destination.write(batch)
        before = case.rows()
        destination.write(batch)
        assert case.rows() == before, "A batch that was written again changed the rows."
        expected = [Accounts(0, next_offset=60, delivered=40, unrouted=14, repeats=5, refused=1)]
        assert destination.accounts(TOPIC) == expected, "A batch that was written again was counted twice."

    def test_full_replay(self, case: Any, opened: Opener) -> None:
        """Another group delivers all of it again, in other flushes."""
        events = some_events(3, count=160, keys=50)
        self.deliver(opened(), events)
        destination = opened(group=fresh("replay"))
        self.deliver(destination, events, size=100)
        self.require(case, destination, events)

    def test_shuffled_partial_replay(self, case: Any, opened: Opener) -> None:
        """Another group delivers some of it again, in any order."""
        events = some_events(11, count=160, keys=50)
        self.deliver(opened(), events)
        for seed in (12, 13):
            again = random.Random(seed).sample(events, 80)  # noqa: S311 - no secret
            destination = opened(group=fresh("replay"))
            self.deliver(destination, again, size=37)
            self.require(case, destination, events)

    def test_any_order(self, case: Any, opened: Opener) -> None:
        """Events in any order end in the same rows."""
        events = some_events(21, count=150, keys=40)
        shuffled = random.Random(22).sample(events, len(events))  # noqa: S311 - no secret
        destination = opened()
        self.deliver(destination, shuffled, size=29)
        self.require(case, destination, shuffled)

    def test_late_versions(self, case: Any, opened: Opener) -> None:
        """What is older by event time, or by raw offset at the same time, replaces nothing."""
        newer = CleanEvent("a", START + timedelta(microseconds=2), 1, raw_offset=5)
        late = CleanEvent("a", START + timedelta(microseconds=1), 2, raw_offset=9)
        tied_but_earlier = CleanEvent("a", newer.at, 3, raw_offset=4)
        without_time = CleanEvent("a", None, 4, raw_offset=10)
        destination = opened()
        self.deliver(destination, [newer, late, tied_but_earlier, without_time], size=1)
        self.require(case, destination, [newer, late, tied_but_earlier, without_time])

    def test_newer_versions(self, case: Any, opened: Opener) -> None:
        """What is newer replaces, at once."""
        versions = [
            CleanEvent("a", None, 1, raw_offset=7),
            CleanEvent("a", START, 2, raw_offset=1),
            CleanEvent("a", START, 3, raw_offset=2),
            CleanEvent("a", START + timedelta(microseconds=1), None, raw_offset=0),
        ]
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        for count, event in enumerate(versions, 1):
            destination.write(batch_of([event], claim, count))
            self.require(case, destination, versions[:count])

    def test_repeated_keys_in_one_flush(self, case: Any, opened: Opener) -> None:
        """The newest of them wins; of equal event times the later in raw."""
        minutes = [3, 9, 9, 1]
        events = [CleanEvent("a", START + timedelta(minutes=m), i, raw_offset=i) for i, m in enumerate(minutes)]
        events.append(CleanEvent("b", START, 7, raw_offset=4))
        destination = opened()
        self.deliver(destination, events)
        self.require(case, destination, events)
        assert destination.accounts(TOPIC)[0].delivered == 5, "`delivered` counts events, not rows."

    def test_recreated_raw_topic(self, case: Any, opened: Opener) -> None:
        """Its offsets start again, and its events are news all the same; the high watermarks of both are kept."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=900), CleanEvent("a", START, 2, raw_offset=0, raw_topic="raw-b")]
        destination.write(batch_of(events[:1], claim, 1))
        destination.write(batch_of(events[1:], replace(claim, high_watermarks={"raw-a": 900}), 2))
        found = [(row["number"], row["_raw_topic"], row["_raw_offset"]) for row in case.rows()]
        assert (2, "raw-b", 0) in found, "An event of the new topic did not replace one of the old."
        assert destination.claim(TOPIC, 0, 1).high_watermarks == {"raw-a": 900, "raw-b": 0}, "Marks were lost."

    def test_a_key_that_moved_to_another_partition(self, case: Any, opened: Opener) -> None:
        """Partitions were added: its next event has a lower offset there, and is news all the same."""
        destination = opened()
        old, new = CleanEvent("a", START, 1, raw_offset=900), CleanEvent("a", START, 2, raw_offset=3)
        destination.write(batch_of([old], destination.claim(TOPIC, 0, 1), 1))
        destination.write(batch_of([new], destination.claim(TOPIC, 1, 1), 1, partition=1))
        found = [(row["number"], row["_raw_partition"], row["_raw_offset"]) for row in case.rows()]
        assert (2, 1, 3) in found, "The event did not replace one of the key's former partition."

    def test_a_batch_without_rows(self, case: Any, opened: Opener) -> None:
        """It moves the position and counts."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        destination.write(batch_of([], claim, 5, unrouted=range(5)))
        assert destination.accounts(TOPIC) == [Accounts(0, 5, unrouted=5)], "A batch without rows was not counted."
        assert case.rows() == [], "Rows came from nowhere."

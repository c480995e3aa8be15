"""Who may write: claims, epochs, a late owner, and processes that die between any two calls (invariant 4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from clearwell.destinations.fencing import claim_number
from clearwell.destinations.protocol import Accounts, Claim, Destination, Replayable, Start
from clearwell.errors import Fenced
from clearwell.testing.destination_base import DestinationBase
from clearwell.testing.destination_cases import Opener, fresh, told
from clearwell.testing.destination_events import START, TOPIC, CleanEvent, batch_of, batches_of, some_events
from clearwell.testing.destination_process import WritingProcess

CANARY = "canary-91ac"


class OwnersPart(DestinationBase):
    """A part of `DestinationSuite`."""

    def test_abandoned_between_any_two_calls(self, case: Any, opened: Opener) -> None:
        """Whoever takes over goes on where the one before stopped."""
        events = some_events(4, count=120, keys=50)
        for generation, calls in enumerate((1, 2, 3, 1, 2, 50)):
            destination = opened()
            claim = destination.claim(TOPIC, 0, generation)
            high_watermarks = {"raw-a": claim.next_offset - 1} if claim.next_offset else {}
            assert claim.high_watermarks == high_watermarks, "The marks are not those of what was written."
            for batch in batches_of(events, claim, 7)[: calls - 1]:
                destination.write(batch)
            destination.close()
        self.require(case, opened(), events)
        assert opened().accounts(TOPIC) == [Accounts(0, next_offset=120, delivered=120)], "Wrong accounts."

    def test_killed_processes(self, case: Any, opened: Opener) -> None:
        """Processes killed while they write (SIGKILL): nothing is lost, nothing is counted twice."""
        if not self.outlives:
            pytest.skip("what is stored ends with the process")
        events = some_events(5, count=150, keys=60)
        group = fresh("killed")
        opened(group=group)
        work = (case, self.schema, group, events, 5)
        processes = [WritingProcess(generation, *work) for generation in range(3)]
        try:
            for process, writes in zip(processes, (1, 4, 2), strict=True):
                process.kill_after(writes)
        finally:
            for process in processes:
                process.end()
        last = opened(group=group)
        claim = self.deliver(last, events, generation=3)
        assert claim.next_offset > 0, "Nothing of what the killed processes wrote was kept."
        self.require(case, last, events)
        assert last.accounts(TOPIC) == [Accounts(0, next_offset=150, delivered=150)], "Wrong accounts."

    def test_older_generation(self, opened: Opener) -> None:
        """It may not claim; the same one may, and any may another partition."""
        opened().claim(TOPIC, 0, 7)
        with told("a claim of an older generation", (), Fenced):
            opened().claim(TOPIC, 0, 6)
        assert opened().claim(TOPIC, 0, 7).epoch == 2, "Each claim that is granted is a new epoch."
        later = claim_number(2**30, 1)  # Kafka forgot the group, and counts its generations from 1 again
        assert opened().claim(TOPIC, 0, later).epoch == 3, "A later incarnation of the group may claim."
        with told("a claim of an earlier incarnation of the group", (), Fenced):
            opened().claim(TOPIC, 0, claim_number(2**30 - 1, 2**31 - 1))
        assert opened().claim(TOPIC, 1, 3).epoch == 1, "Partitions are claimed apart."

    def test_zombie(self, case: Any, opened: Opener) -> None:
        """A late owner is refused, and leaves no trace."""
        zombie, successor = opened(), opened()
        old = zombie.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("b", START, 3, raw_offset=1)]
        zombie.write(batch_of(events[:1], old, 1))
        new = successor.claim(TOPIC, 0, 2)
        with told("a write of a late owner", (CANARY,), Fenced):
            zombie.write(batch_of([CleanEvent(CANARY, START, 2, raw_offset=1)], old, 2))
        successor.write(batch_of(events[1:], dataclasses.replace(new, high_watermarks={"raw-a": 0}), 2))
        with told("a write of a late owner", (CANARY,), Fenced):
            zombie.write(batch_of([CleanEvent(CANARY, START, 4, raw_offset=2)], old, 3))
        self.require(case, successor, events)
        assert successor.accounts(TOPIC)[0].next_offset == 2, "A late owner moved the position."

    def test_rewind(self, case: Any, opened: Opener) -> None:
        """A replay: who was writing is fenced, no row changes, and the accounts are those of the place gone back to."""
        destination = _replayable(opened())
        events = some_events(7, count=60, keys=25)
        before = self.deliver(destination, events, size=20)
        rows = case.rows()
        destination.rewind(TOPIC, [Start(Accounts(0, 0)), Start(Accounts(7, 3))])
        assert destination.accounts(TOPIC) == [Accounts(0, 0)], "The accounts are not those of the beginning."
        with told("a write of before the replay", (CANARY,), Fenced):
            destination.write(batch_of([CleanEvent(CANARY, START, 1, raw_offset=60)], before, 61))
        again = self.deliver(destination, events, size=17)
        assert (again.next_offset, again.high_watermarks) == (0, {}), "What is replayed would be taken for repeats."
        self.require(case, destination, events)
        assert len(case.rows()) == 120 if destination.redelivers else case.rows() == rows, "A replay changed rows."
        assert destination.accounts(TOPIC) == [Accounts(0, 60, delivered=60)], "Wrong accounts."

    def test_rewind_part_of_the_way(self, opened: Opener) -> None:
        """All that a place holds is taken over; forward is not back."""
        destination = _replayable(opened())
        self.deliver(destination, some_events(7, count=60, keys=25))
        was = Accounts(0, 30, delivered=20, unrouted=5, repeats=3, refused=2)
        for start in (Start(was, {"raw-a": 29}), Start(Accounts(0, 35, delivered=35), {"raw-a": 34})):
            destination.rewind(TOPIC, [start])
            assert destination.accounts(TOPIC) == [was], "The accounts are not those of the place gone back to."
            claim = destination.claim(TOPIC, 0, 1)
            assert (claim.next_offset, claim.high_watermarks) == (30, {"raw-a": 29}), "The next owner begins elsewhere."

    def test_unclaimed(self, case: Any, opened: Opener) -> None:
        """A partition must be claimed before it is written."""
        with told("a write without a claim", (CANARY,), Fenced):
            opened().write(batch_of([CleanEvent(CANARY, START, 1, raw_offset=0)], Claim(1, 0), 1))
        assert case.rows() == [], "What was not claimed was written."

    def test_accounts_apart(self, opened: Opener) -> None:
        """Groups, topics and partitions are accounted apart."""
        one, other = opened(), opened(group=fresh("other"))
        events = [CleanEvent("a", START, 1, raw_offset=0)]
        for partition in (2, 0):
            claim = one.claim(TOPIC, partition, 1)
            one.write(batch_of(events, claim, 10 + partition, partition=partition, repeats=range(partition)))
        claim = one.claim("clean-b", 0, 1)
        one.write(batch_of([], claim, 5, topic_id="clean-b", unrouted=range(5)))
        expected = [Accounts(0, 10, delivered=1), Accounts(2, 12, delivered=1, repeats=2)]
        assert one.accounts(TOPIC) == expected, "Partitions are not accounted apart."
        assert one.accounts("clean-b") == [Accounts(0, 5, unrouted=5)], "Topics are not accounted apart."
        assert other.accounts(TOPIC) == [], "Groups are not accounted apart."

    def test_recreated_clean_topic(self, opened: Opener) -> None:
        """It starts at its beginning."""
        destination = opened()
        self.deliver(destination, some_events(6, 10, 5))
        assert destination.claim("clean-b", 0, 1) == Claim(epoch=1, next_offset=0), "It holds old positions."

    def test_open_and_close_again(self, case: Any, opened: Opener) -> None:
        """Both are harmless when repeated, and every call connects when it has to."""
        destination = opened()
        destination.open()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("b", START, 2, raw_offset=1)]
        destination.write(batch_of(events[:1], claim, 1))
        destination.close()
        destination.close()
        destination.write(batch_of(events[1:], dataclasses.replace(claim, high_watermarks={"raw-a": 0}), 2))
        destination.open()
        self.require(case, destination, events)


def _replayable(destination: Destination) -> Any:
    """The destination, where a person may set it back; else the test is skipped."""
    if not hasattr(destination, "rewind"):
        pytest.skip("its position can't be set back")
    assert isinstance(destination, Replayable), "A destination with `rewind` says too whether it `redelivers`."
    return destination

"""What a store can't take, and what it can't do: refused in one clear sentence, with nothing moved, lost or shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clearwell.destinations.protocol import Accounts, Destination, Inspectable, RowReason, RowsRefused
from clearwell.testing.destination_base import DestinationBase
from clearwell.testing.destination_cases import Opener, fresh, isolate, told
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, batch_of, some_events

CANARY = "canary-5e1b"


class RefusalsPart(DestinationBase):
    """A part of `DestinationSuite`."""

    def test_poison_moves_nothing(self, case: Any, opened: Opener) -> None:
        """A batch with a row that the store can't take is refused whole, and what is mended goes in."""
        for number, (what, poison) in enumerate(self._poisons(case, opened()).items()):
            destination = opened(group=fresh("poisoned"))
            claim = destination.claim(TOPIC, 0, 1)
            events = [CleanEvent(f"{CANARY}-{what}-{i}", START, i, raw_offset=3 * number + i) for i in range(3)]
            rows = [events[0].row, poison(events[1].row), events[2].row]
            with told(what, (CANARY,), RowsRefused) as refused:
                destination.write(batch_of(events, claim, 3, rows=rows))
            assert isinstance(refused.error.reason, RowReason), f"{what}: the reason is none of `RowReason`."
            assert destination.accounts(TOPIC)[0] == Accounts(0, 0), f"{what}: the position moved."
            destination.write(batch_of(events, claim, 3))
            found = {
                identity: row for identity, row in self.stored(case, destination) if str(row[0]) in rows_of(events)
            }
            assert found == {event.identity: self.kept(event.row) for event in events}, f"{what}: mended rows are lost."
            assert destination.accounts(TOPIC) == [Accounts(0, 3, delivered=3)], f"{what}: wrong accounts."

    def test_poison_is_isolated_by_halving(self, case: Any, opened: Opener) -> None:
        """Just the poison rows are refused; all others are delivered, in order, and the position is at the end."""
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [replace(event, id=f"{event.id}-x") for event in some_events(8, 150, 60)]
        rows, bad = [event.row for event in events], set[int]()
        for at, poison in enumerate(self._poisons(case, destination).values()):
            for place in (at, 70 + 2 * at, 149 - at):
                events[place] = replace(events[place], id=f"poison-{place}")
                rows[place] = poison(events[place].row)
                bad.add(place)
        batch = batch_of(events, claim, 170, rows=rows, unrouted=range(10), repeats=range(10, 20))
        refused = isolate(destination, batch)
        assert {offset - 20 for offset, _ in refused} == bad, "Not just the poison rows were refused."
        good = [event for at, event in enumerate(events) if at not in bad]
        self.require(case, destination, good)
        expected = Accounts(0, 170, len(good), unrouted=10, repeats=10, refused=len(bad))
        assert destination.accounts(TOPIC) == [expected], "The accounts do not add up."
        assert destination.claim(TOPIC, 0, 1).high_watermarks == {"raw-a": 149}, "The marks are not at the end."

    def test_poison_last_in_its_key(self, case: Any, opened: Opener) -> None:
        """The last version of a key that the store can take is there, where the newest is poison."""
        name, poison = next(iter(self._poisons(case, opened()).items()))
        destination = opened()
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, raw_offset=0), CleanEvent("a", START, 2, raw_offset=1)]
        batch = batch_of(events, claim, 2, rows=[events[0].row, poison(events[1].row)])
        assert [offset for offset, _ in isolate(destination, batch)] == [1], f"{name}: not refused alone."
        self.require(case, destination, events[:1])

    def test_what_can_not_work_is_told(self, case: Any) -> None:
        """Wrong addresses, logins and rights: one clear sentence, with no secret in it."""
        assert hasattr(case, "broken"), "Give the case `broken`, such as a wrong address or password, and `secrets`."
        for what, make in case.broken().items():
            made: list[Destination] = []
            with told(what, case.secrets):
                made.append(make())
                made[0].open()
                self.deliver(made[0], [CleanEvent("a", START, 1, raw_offset=0)])
            for destination in made:
                assert not any(secret in repr(destination) for secret in case.secrets), f"{what}: repr shows a secret."
                destination.close()

    def test_whether_its_table_is_there(self, case: Any) -> None:
        """Asked without making it: a deliverer must not go on in a new, empty one where the old one was dropped."""
        destination = case.destination(SIMPLE, fresh("looking"))
        looker: Any = destination
        if not isinstance(looker, Inspectable):
            pytest.skip("the store can't tell")
        try:
            assert not looker.is_there(), "There is a table before `open` made one, or looking made it."
            destination.open()
            assert looker.is_there(), "The table is not seen."
        finally:
            destination.close()

    def _poisons(self, case: Any, destination: Destination) -> Any:
        return self.poisons(case, destination) or pytest.skip("the store takes everything")


def rows_of(events: list[CleanEvent]) -> set[str]:
    """The ids of events."""
    return {event.id for event in events}

"""A position of the lake that a person sets back: the range is read again, and no event is there twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.destinations.lake import LakeDestination
from clearwell.destinations.lake_root import Place
from clearwell.destinations.protocol import Accounts, Claim, Start
from clearwell.errors import Fenced
from clearwell.testing.destination_events import SIMPLE, TOPIC, batch_of, batches_of, some_events

EVENTS = some_events(1, 40, 20)


def test_set_back(tmp_path: Path) -> None:
    made = LakeDestination(Place(str(tmp_path / "table")), SIMPLE, "group")
    made.open()
    before = made.claim(TOPIC, 0, 1)
    for batch in batches_of(EVENTS, before, 10):
        made.write(batch)
    made.set_back(TOPIC, [Start(Accounts(0, 0))])
    with pytest.raises(Fenced):
        made.write(batch_of([], before, 41, unrouted=[40]))
    claim = made.claim(TOPIC, 0, 1)
    assert claim == Claim(3, 0, {}), "a mark of before would make all that is replayed a repeat"
    for batch in batches_of(EVENTS, claim, 15):
        made.write(batch)
    assert made.accounts(TOPIC) == [Accounts(0, 40, delivered=40)] and made.held() == 40
    made.set_back(TOPIC, [Start(Accounts(0, 30, delivered=30), {"raw-a": 29}), Start(Accounts(7, 3))])
    assert made.claim(TOPIC, 0, 1) == Claim(5, 30, {"raw-a": 29})
    made.set_back(TOPIC, [Start(Accounts(0, 35, delivered=35), {"raw-a": 34})])
    assert made.claim(TOPIC, 0, 1).next_offset == 30, "forward is not back"

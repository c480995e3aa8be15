"""Rows that a store can't take are dead letters of that destination alone; all others are delivered."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from clearwell.registry import migrate
from clearwell.settings import Settings
from tests.support.platform import Platform
from tests.support.refusing import CONTRACT, Bookings, check, make_stricter

pytestmark = pytest.mark.slow


def test_each_kind_of_poison_among_5000_rows(stack: Settings, platform_of: Callable[[str], Platform]) -> None:
    migrate(stack.postgres)  # the balance asks for replays of what was refused
    platform = platform_of(CONTRACT)
    postgres = platform.start("deliverer", "--destination", "postgres")
    make_stricter(platform)
    bookings = Bookings()
    bookings.put(platform, random.Random(5), count=1_250, each=2)
    platform.start("deliverer", "--destination", "mongo")
    platform.start("cleaner")
    assert platform.settle().balanced
    check(platform, bookings)
    assert postgres.text().count("it is a dead letter now") == len(bookings.reasons), "none of them twice"
    assert postgres.stop() == 0

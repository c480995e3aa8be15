"""SIGKILL at random moments while poison rows are isolated: nothing is lost, nothing is there twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from clearwell.registry import migrate
from clearwell.settings import Settings
from tests.support.killing import KILLS, dice
from tests.support.platform import Platform, until
from tests.support.refusing import CONTRACT, Bookings, check, make_stricter

pytestmark = pytest.mark.slow


def test_a_deliverer_killed_again_and_again_while_it_isolates(
    stack: Settings, platform_of: Callable[[str], Platform]
) -> None:
    migrate(stack.postgres)  # the balance asks for replays of what was refused
    random_ = dice()
    platform = platform_of(CONTRACT)
    deliverer = platform.start("deliverer", "--destination", "postgres", CLEARWELL_WORKER="w")
    make_stricter(platform)
    deliverer.kill()
    bookings = Bookings()
    bookings.put(platform, random_, count=400, each=10)
    platform.start("cleaner")
    platform.start("deliverer", "--destination", "mongo")
    total = 4 * (400 + 5 * 10)
    until(lambda: platform.cleaned() == total)
    isolating = 0
    for turn in range(KILLS):
        deliverer = platform.start("deliverer", "--destination", "postgres", CLEARWELL_WORKER="w")
        begun = "it is a dead letter now" if turn % 2 else "starts at offset"
        until(lambda: begun in deliverer.text())  # noqa: B023 - called at once
        time.sleep(random_.uniform(0, 0.1 if turn % 2 else 0.5))
        deliverer.kill()
        isolating += "it is a dead letter now" in deliverer.text()
    assert isolating >= KILLS // 2, "the kills came before or after the isolation"
    platform.start("deliverer", "--destination", "postgres", CLEARWELL_WORKER="w")
    platform.settle(180)
    check(platform, bookings)

"""SIGKILL of a feature view's deliverer at random moments, as it joins files among them: tiles are exact, and its
history has each event once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from clearwell.destinations.features.history_files import events_folder
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.upkeep import compact
from tests.support.killing import KILLS, Feed, dice
from tests.support.platform import Platform, flights_contract, until
from tests.support.views import BEGIN, FAR, expected, flights, ids, listed, served, view_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OFTEN = {"CLEARWELL_WORKER": "w", "CLEARWELL_FEATURES_COMPACT_EVERY": "2"}
TIMES = [BEGIN + timedelta(hours=hours) for hours in (1, 30, 60.5, 200, 400, 900)]


def test_the_deliverer_of_a_view_killed_again_and_again(platform_of: Callable[[str], Platform]) -> None:
    random_ = dice()
    platform = platform_of(flights_contract(features=True))
    destination = f"features.{platform.stream}"
    platform.only(destination)
    feed = Feed(platform, burst=100, make=flights)
    folder = events_folder(Folder.root(platform.settings), view_of(platform).name)
    platform.start("cleaner")
    with feed.running():
        for _ in range(KILLS):
            before = folder.names()
            deliverer = platform.start("deliverer", "--destination", destination, **OFTEN)
            until(lambda: folder.names() != before, within=120, every=0.005)  # noqa: B023 - called at once
            # At once: the file is there, and perhaps not yet committed.
            time.sleep(random_.choice([0, random_.uniform(0, 0.5)]))
            deliverer.kill()
    platform.start("deliverer", "--destination", destination, **OFTEN)
    found = platform.settle(180)
    assert found.balanced
    count = len(feed.values)
    assert ids(platform) == [f"e{number:07d}" for number in range(count)]
    assert [served(platform, at) for at in TIMES] == expected(platform, feed.values, TIMES)
    with connect(platform.settings.postgres, view_of(platform)) as session:
        done = compact(session, Folder.root(platform.settings), view_of(platform), FAR, grace=timedelta(0))
        assert done.swept > 0  # by deliverers
        compact(session, Folder.root(platform.settings), view_of(platform), FAR, grace=timedelta(0))
    assert folder.names() == sorted(listed(platform))  # what the killed ones left behind is gone
    assert ids(platform) == [f"e{number:07d}" for number in range(count)]

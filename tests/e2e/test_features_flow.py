"""raw → cleaner → clean → deliverer → a feature view: what is served, and the history it can be computed from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from clearwell.destinations.features.read import read_online
from tests.support.platform import Platform, flights_contract
from tests.support.views import BEGIN, CARRIERS, expected, flights, ids, served, view_of

pytestmark = pytest.mark.slow

COUNT = 4_000
TIMES = [BEGIN + timedelta(hours=hours) for hours in (0, 1, 60, 100.5, 150, 215, 400)]


def test_a_view_serves_what_the_pipeline_made_of_the_events(platform_of: Callable[[str], Platform]) -> None:
    platform = platform_of(flights_contract(features=True))
    destination = f"features.{platform.stream}"
    platform.only(destination)
    values = list(flights(COUNT))
    platform.put(values)
    platform.put(values[:50])  # repeats of the source, dropped by `deduplicate`
    platform.start("cleaner")
    platform.start("deliverer", "--destination", destination)
    found = platform.settle()
    assert found.balanced
    assert [(one.name, one.delivered, one.keys, one.row_count) for one in found.destinations] == [
        (destination, COUNT, len(CARRIERS), len(CARRIERS))
    ]
    assert [served(platform, time) for time in TIMES] == expected(platform, values, TIMES)
    assert ids(platform) == [f"e{number:07d}" for number in range(COUNT)]
    (row,) = read_online(platform.settings, view_of(platform), [("UA",)])
    assert (row.values["last_origin"], row.values["last_dest"], row.values["flights_1d"]) == ("EWR", "IAH", 0)
    assert all(service.stop() == 0 for service in platform.services)

"""A deliverer into the lake, killed at random moments while it commits and compacts: each clean event once."""

from __future__ import annotations

import random
import time

import polars
import pytest

from tests.support.killing import KILLS
from tests.support.platform import Platform, numbered, until

pytestmark = pytest.mark.slow

PACE = {"CLEARWELL_LAKE_COMMIT_SECONDS": "0.05", "CLEARWELL_LAKE_COMPACT_EVERY": "5", "CLEARWELL_WORKER": "w"}


def test_deliverer_killed_again_and_again(platform: Platform) -> None:
    dice = random.Random(17)
    text = platform.contract_file.read_text()
    platform.contract_file.write_text(text.replace("routes:\n", "routes:\n  - {to: lake}\n"))
    platform.only("lake")
    platform.start("cleaner")
    sent = 0
    for _ in range(KILLS):
        sent += platform.put(numbered(2_000, start=sent))
        deliverer = platform.start("deliverer", "--destination", "lake", **PACE)
        until(lambda: platform.alive() or "starts at offset" in deliverer.text(), 120)  # noqa: B023 - called at once
        time.sleep(dice.uniform(0, 0.8))
        deliverer.kill()
    platform.start("deliverer", "--destination", "lake", **PACE)
    found = platform.settle(120)
    assert found.balanced, found
    assert found.destinations[0].delivered == found.total("clean") == sent
    table = polars.scan_delta(str(platform.settings.home / "lake" / f"{platform.stream}_v1")).collect()
    places = table.select("_raw_topic", "_raw_partition", "_raw_offset")
    assert (table.height, places.n_unique(), table["id"].n_unique()) == (sent, sent, sent)

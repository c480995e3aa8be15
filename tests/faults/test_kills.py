"""SIGKILL at random moments of a drain: 0 missing, 0 duplicated, 0 wrong. The seed is printed; SEED repeats it."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from tests.support.killing import KILLS, Feed, dice
from tests.support.platform import Platform, until
from tests.support.rows import Rows, expected, in_mongo, in_postgres

pytestmark = pytest.mark.slow


def check(platform: Platform, feed: Feed, read: Callable[[Platform], Rows]) -> None:
    """The accounts add up, and every row is the one that the pipeline makes of its event."""
    found = platform.settle(180)
    assert found.balanced, found
    assert found.total("clean") == len(feed.values)
    want, stored = expected(platform, feed.values), read(platform)
    assert want.keys() - stored.keys() == set(), "missing"
    assert stored.keys() - want.keys() == set(), "extra"
    wrong = [key for key in want if stored[key] != want[key]]
    assert not wrong


def test_cleaner_killed_again_and_again(platform: Platform) -> None:
    random_ = dice()
    feed = Feed(platform)
    platform.only("postgres")
    platform.start("deliverer", "--destination", "postgres")
    with feed.running():
        for _ in range(KILLS):
            before = platform.cleaned()
            cleaner = platform.start("cleaner", CLEARWELL_WORKER="w")
            until(lambda: platform.cleaned() > before)  # noqa: B023 - called at once
            time.sleep(random_.uniform(0, 0.6))
            cleaner.kill()
    platform.start("cleaner", CLEARWELL_WORKER="w")
    found = platform.settle(180)
    assert found.total("dead") == found.total("raw") - len(feed.values)
    check(platform, feed, in_postgres)


@pytest.mark.parametrize("destination", ["postgres", "mongo"])
def test_deliverer_killed_again_and_again(platform: Platform, destination: str) -> None:
    random_ = dice()
    feed = Feed(platform, burst=100 if destination == "mongo" else 400)  # the embedded MongoDB is slow
    platform.only(destination)
    platform.start("cleaner")
    with feed.running():
        for _ in range(KILLS):
            deliverer = platform.start("deliverer", "--destination", destination, CLEARWELL_WORKER="w")
            until(lambda: "starts at offset" in deliverer.text())  # noqa: B023 - called at once
            time.sleep(random_.uniform(0, 1.0))
            deliverer.kill()
    platform.start("deliverer", "--destination", destination, CLEARWELL_WORKER="w")
    check(platform, feed, in_postgres if destination == "postgres" else _in_mongo_to_the_second)


def _in_mongo_to_the_second(platform: Platform) -> Rows:
    """A MongoDB date has milliseconds and no more, which is all that these events have."""
    return {key: row | {"scheduled_at": row["scheduled_at"][:19] + "+00:00"} for key, row in in_mongo(platform).items()}


def test_postgres_connections_are_cut_in_the_middle_of_flushes(platform: Platform) -> None:
    random_ = dice()
    feed = Feed(platform)
    platform.only("postgres")
    platform.start("cleaner")
    deliverer = platform.start("deliverer", "--destination", "postgres")
    cut = 0
    with feed.running(), psycopg.connect(platform.settings.postgres, autocommit=True) as admin:
        while cut < 5:
            time.sleep(random_.uniform(0, 0.2))
            cut += admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND application_name LIKE %s AND state <> 'idle'",
                (f"%{platform.stream}%",),
            ).fetchone()[0]  # type: ignore[index]
    check(platform, feed, in_postgres)
    assert deliverer.process.poll() is None, "it was retried in place"

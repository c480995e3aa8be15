"""Retention, whichever topic it comes to first: the balance never cries wolf, and what nobody read is told."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from kafka import TopicPartition

from clearwell.control.platform import Platform as ControlPlatform
from clearwell.control.status import show_health
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, cleaner_group, deliverer_group, raw_topic
from clearwell.reconciliation.balance import Balance
from tests.e2e.test_transactions import CONTRACT
from tests.support.platform import PARTITIONS, Platform, until

pytestmark = pytest.mark.slow


def retain(platform: Platform, topic: str, before: int) -> None:
    """Remove what is before an offset, as retention does."""
    places = {TopicPartition(topic, partition): before for partition in range(PARTITIONS)}
    admin.ask(platform.settings.kafka, "removing records", lambda client: client.delete_records(places))


def put(platform: Platform, first: int, count: int) -> None:
    """`count` events into each partition; every fifth is no event."""
    for partition in range(PARTITIONS):
        good = (b'{"id":"%d-%d","at":"2026-03-01T00:00:00Z"}' % (partition, n) for n in range(first, first + count))
        platform.put((value if n % 5 else b"{}" for n, value in enumerate(good)), partition)


def lost_in_status(platform: Platform, group: str) -> int:
    """What `clearwell status` tells of a group; restarts must not count it again."""
    with ControlPlatform(platform.settings) as control:
        return show_health(control, [group])[group].lost


def sums(found: Balance, *columns: str) -> tuple[int, ...]:
    return tuple(found.total(column) for column in columns)


def test_accounts_stay_right_whatever_retention_removes_first(platform_of: Callable[[str], Platform]) -> None:
    platform = platform_of(CONTRACT)
    put(platform, 0, 100)
    platform.start("cleaner")
    deliverer = platform.start("deliverer", "--destination", "postgres")
    found = platform.settle()
    assert (found.balanced, *sums(found, "raw", "clean", "dead", "expired", "lost")) == (True, 400, 320, 80, 0, 0)

    retain(platform, clean_topic(platform.stream, 1), 40)  # of 80 a partition: raw is kept longer
    found = platform.balance()
    assert found.balanced
    assert sums(found, "raw", "clean", "dead", "expired", "missing") == (400, 160, 80, 160, 0)
    (store,) = found.destinations
    assert (store.expected, store.older, store.delivered, store.row_count, store.lost) == (160, 160, 320, 320, 0)

    retain(platform, clean_topic(platform.stream, 1), 80)  # nothing is left of it
    retain(platform, raw_topic(platform.stream), 60)
    found = platform.balance()
    assert found.balanced
    assert sums(found, "raw", "clean", "dead", "expired", "missing", "lost") == (160, 0, 32, 128, 0, 0)

    deliverer.kill()  # from here on it is late
    put(platform, 100, 50)
    until(lambda: platform.cleaned() == 4 * 120)
    retain(platform, clean_topic(platform.stream, 1), 90)
    assert platform.balance().destinations[0].lost == 40, "what it will miss is told before it comes back"
    again = platform.start("deliverer", "--destination", "postgres")
    found = platform.settle()
    (store,) = found.destinations
    assert (store.lost, store.delivered, store.balanced) == (40, 320 + 120, True)
    assert "offsets 80 to 89 were removed by retention before deliverer." in again.text()
    assert lost_in_status(platform, deliverer_group(platform.stream, 1, "postgres")) == 40


def test_what_retention_took_before_it_was_cleaned_is_told_and_counted(
    platform_of: Callable[[str], Platform],
) -> None:
    platform = platform_of(CONTRACT)
    put(platform, 0, 20)
    cleaner = platform.start("cleaner")
    deliverer = platform.start("deliverer", "--destination", "postgres")
    platform.settle()
    assert cleaner.stop() == 0
    put(platform, 20, 30)
    retain(platform, raw_topic(platform.stream), 45)
    assert platform.balance().total("lost") == 4 * 25
    put(platform, 50, 5)
    later = platform.start("cleaner")
    found = platform.settle()
    assert (found.balanced, *sums(found, "raw", "clean", "dead", "missing", "lost")) == (True, 40, 32, 8, 0, 100)
    said = re.findall(r"offsets 20 to 44 were removed by retention before cleaner\.", later.text())
    assert len(said) == PARTITIONS
    assert lost_in_status(platform, cleaner_group(platform.stream, 1)) == 100
    assert deliverer.stop() == 0

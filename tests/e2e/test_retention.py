"""Retention removes what nobody has read yet: services go on behind it, and what was lost is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kafka import TopicPartition

from clearwell.control.platform import Platform as ControlPlatform
from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, cleaner_group, deliverer_group, raw_topic
from clearwell.registry import losses
from tests.support.platform import PARTITIONS, Platform, until

pytestmark = pytest.mark.slow

CONTRACT = """
stream: $stream
version: 1
owner: me@example.com
description: Events of a stream, kept for a while.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
routes:
  - {to: postgres, table: $stream}
"""


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
    with ControlPlatform(platform.settings) as control, control.looking() as session:
        return losses.totals(session).get(group, 0)


def test_what_retention_took_before_it_was_read_is_told_in_logs_and_status(
    platform_of: Callable[[str], Platform],
) -> None:
    """What it means for the accounts is proven without servers: tests/unit/reconciliation/test_balance.py."""
    platform = platform_of(CONTRACT)
    stream = platform.stream
    put(platform, 0, 20)
    services = platform.start("cleaner"), platform.start("deliverer", "--destination", "postgres")
    platform.settle()
    for service in services:
        service.kill()
    put(platform, 20, 30)
    retain(platform, raw_topic(stream), 45)
    put(platform, 50, 5)
    cleaner = platform.start("cleaner")
    until(lambda: platform.cleaned() == PARTITIONS * 24)  # 16 of the first 20, 8 of the last 10
    retain(platform, clean_topic(stream, 1), 19)
    deliverer = platform.start("deliverer", "--destination", "postgres")
    found = platform.settle()
    (store,) = found.destinations
    assert (found.balanced, found.total("lost"), store.lost) == (True, PARTITIONS * 25, PARTITIONS * 3)
    for service, lost in ((cleaner, "offsets 20 to 44"), (deliverer, "offsets 16 to 18")):
        assert service.text().count(f"{lost} were removed by retention before ") == PARTITIONS
    assert lost_in_status(platform, cleaner_group(stream, 1)) == PARTITIONS * 25
    assert lost_in_status(platform, deliverer_group(stream, 1, "postgres")) == PARTITIONS * 3

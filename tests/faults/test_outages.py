"""Kafka restarted in the middle of a drain, topics deleted and made again, partitions handed to and fro."""

from __future__ import annotations

import signal
import time

import pytest

from clearwell.kafka import admin
from clearwell.kafka.names import clean_topic, dead_topic, dropped_topic, raw_topic
from clearwell.local import stack as embedded
from tests.faults.test_kills import Feed, check, dice
from tests.support.platform import PARTITIONS, Platform, Service, numbered, until
from tests.support.rows import expected, in_postgres

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told to stop", "killed"])
def test_kafka_restarts_in_the_middle_of_a_drain(platform: Platform, number: signal.Signals) -> None:
    platform.only("postgres")
    values = list(numbered(60_000))
    platform.put(values)
    cleaner = platform.start("cleaner")
    deliverer = platform.start("deliverer", "--destination", "postgres")
    until(lambda: "starts at offset" in deliverer.text(), 180)  # one that can't even start ends, and is started again
    until(lambda: platform.cleaned() > 5_000)
    admin.close()  # kafka-python leaves the sockets of a client behind that Kafka has left
    embedded.restart(platform.settings.home, "kafka", number)
    found = platform.settle(180)
    assert found.balanced
    assert in_postgres(platform) == expected(platform, values)
    assert (cleaner.process.poll(), deliverer.process.poll()) == (None, None), "it was waited for in place"


def test_a_recreated_raw_topic_is_a_new_identity(platform: Platform) -> None:
    """Its offsets start again at 0: they must be taken for neither repeats nor as committed already."""
    platform.only("postgres")
    old, new = list(numbered(3_000)), list(numbered(2_000, start=5_000))
    platform.put(old)
    cleaner = platform.start("cleaner")
    platform.start("deliverer", "--destination", "postgres")
    platform.settle()
    topic = raw_topic(platform.stream)
    before = admin.topic_id(platform.settings.kafka, topic)
    admin.delete_topics(platform.settings.kafka, [topic])
    until(lambda: _made_again(platform))
    assert admin.topic_id(platform.settings.kafka, topic) != before
    platform.put(new)
    _supervise(platform, cleaner, total=len(old) + len(new))
    found = platform.settle()
    assert found.total("raw") == len(new)
    assert found.balanced
    assert in_postgres(platform) == expected(platform, old + new)


def test_partitions_handed_to_and_fro_between_cleaners(platform: Platform) -> None:
    random_ = dice()
    feed = Feed(platform)
    platform.only("postgres")
    platform.start("deliverer", "--destination", "postgres")
    platform.start("cleaner")
    with feed.running():
        for _ in range(4):
            guest = platform.start("cleaner")
            until(lambda: "starts at offset" in guest.text())  # noqa: B023 - called at once
            time.sleep(random_.uniform(0, 1.0))
            if random_.random() < 0.5:
                guest.kill()
            else:
                assert guest.stop() == 0
    check(platform, feed, in_postgres)


def test_more_partitions_are_read_by_a_named_cleaner_that_came_back(platform: Platform) -> None:
    """Kafka does not tell it that it leads its group (KIP-814): the new partitions would be nobody's."""
    stream, values = platform.stream, list(numbered(2_000))
    platform.put(values)
    first = platform.start("cleaner")
    until(lambda: platform.cleaned() >= len(values))
    first.kill()
    cleaner = platform.start("cleaner")
    platform.put(values)
    until(lambda: platform.cleaned() >= 2 * len(values))
    for topic in (clean_topic(stream, 1), dead_topic(stream), dropped_topic(stream), raw_topic(stream)):
        admin.add_partitions(platform.settings.kafka, topic, PARTITIONS + 1)
    until(lambda: platform.put(values, PARTITIONS) == len(values))
    until(lambda: platform.cleaned() >= 3 * len(values), 40)
    assert cleaner.process.poll() is None


def _made_again(platform: Platform) -> bool:
    try:
        admin.ensure_topics(platform.settings.kafka, platform.stream, 1, partitions=PARTITIONS)
    except Exception:  # the deletion is under way
        return False
    return True


def _supervise(platform: Platform, cleaner: Service, total: int) -> None:
    """Start the cleaner again where it ended, as the supervisor does, until all is cleaned."""

    def done() -> bool:
        nonlocal cleaner
        code = cleaner.process.poll()
        if code is not None:
            assert code == 70, cleaner.text()[-2000:]
            platform.services.remove(cleaner)
            cleaner = platform.start("cleaner")
        return platform.cleaned() >= total

    until(done, 60)

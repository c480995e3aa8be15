"""The accounts of a stream add up whatever happens to its log: retention, transactions of others, forged records."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from clearwell.kafka.names import clean_topic, cleaner_group, deliverer_group, raw_topic
from clearwell.reconciliation import Balance
from clearwell.testing import TestPlatform, minimal_contract
from clearwell.testing.memory_producer import MemoryTransaction, append

PARTITIONS = 3
STREAM = "visits"
RAW, CLEAN = raw_topic(STREAM), clean_topic(STREAM, 1)


@pytest.fixture
def platform() -> TestPlatform:
    return TestPlatform(minimal_contract("routes:\n  - {to: postgres}\n"), partitions=PARTITIONS)


def visit(name: str) -> dict[str, str]:
    return {"id": name, "at": "2026-03-01T00:00:00Z"}


def put(platform: TestPlatform, first: int, count: int) -> None:
    """`count` events into each partition; every fifth is no event."""
    for partition in range(PARTITIONS):
        numbers = range(first, first + count)
        events = [visit(f"{partition}-{number}") if number % 5 else b"{}" for number in numbers]
        platform.put(*events, partition=partition)


def retain(platform: TestPlatform, topic: str, before: int) -> None:
    """Remove what is before an offset of each partition."""
    platform.log.remove_before(topic, dict.fromkeys(range(PARTITIONS), before))


def sums(balance: Balance, *columns: str) -> list[int]:
    """Totals, for one partition: all have the same."""
    return [balance.total(column) // PARTITIONS for column in columns]


def test_accounts_stay_right_whatever_retention_removes_first(platform: TestPlatform) -> None:
    put(platform, 0, 100)
    platform.run(batch_size=30)
    found = platform.balance()
    assert (found.balanced, found.settled) == (True, True)
    assert sums(found, "raw", "clean", "dead", "expired", "lost") == [100, 80, 20, 0, 0]

    retain(platform, CLEAN, 40)  # of 80: raw is kept longer
    found = platform.balance()
    assert found.balanced
    assert sums(found, "raw", "clean", "dead", "expired", "missing") == [100, 40, 20, 40, 0]
    (postgres,) = found.destinations
    events = [postgres.expected, postgres.older, postgres.delivered, postgres.row_count, postgres.lost]
    assert events == [40 * PARTITIONS, 40 * PARTITIONS, 80 * PARTITIONS, 80 * PARTITIONS, 0]

    retain(platform, CLEAN, 80)  # nothing is left of it
    retain(platform, RAW, 60)
    found = platform.balance()
    assert found.balanced
    assert sums(found, "raw", "clean", "dead", "expired", "missing", "lost") == [40, 0, 8, 32, 0, 0]


def test_what_retention_took_before_it_was_delivered_is_told_before_and_counted_after(platform: TestPlatform) -> None:
    put(platform, 0, 100)
    platform.run()
    put(platform, 100, 50)
    platform.clean()  # the deliverer is late
    assert not platform.balance().settled
    retain(platform, CLEAN, 90)
    assert platform.balance().destinations[0].lost == 10 * PARTITIONS
    platform.run()
    (postgres,) = platform.balance().destinations
    assert (postgres.lost, postgres.delivered, postgres.balanced) == (10 * PARTITIONS, 110 * PARTITIONS, True)
    group = deliverer_group(STREAM, 1, "postgres")
    assert sorted(platform.losses) == [(group, partition, 80, 90) for partition in range(PARTITIONS)]


def test_what_retention_took_before_it_was_cleaned_is_told_before_and_counted_after(platform: TestPlatform) -> None:
    put(platform, 0, 20)
    platform.run()
    put(platform, 20, 30)
    retain(platform, RAW, 45)
    assert sums(platform.balance(), "lost", "waiting") == [25, 5]
    put(platform, 50, 5)
    platform.run()
    found = platform.balance()
    assert found.balanced
    assert sums(found, "raw", "clean", "dead", "missing", "lost") == [10, 8, 2, 0, 25]
    group = cleaner_group(STREAM, 1)
    assert sorted(platform.losses) == [(group, partition, 20, 45) for partition in range(PARTITIONS)]


def test_only_what_a_transaction_has_committed_is_cleaned_delivered_counted_and_backfilled(
    platform: TestPlatform, tmp_path: Path
) -> None:
    def produce(name: str) -> MemoryTransaction:
        transaction = platform.log.transaction()
        for partition in range(PARTITIONS):
            values = [
                b'{"id":"%s-%d-%d","at":"2026-03-01T00:00:00Z"}' % (name.encode(), partition, n) for n in range(3)
            ]
            transaction.produce(RAW, partition, values)
        return transaction

    produce("first").commit()
    produce("aborted").abort()
    produce("second").commit()
    platform.run()
    found = platform.balance()
    assert found.balanced
    assert sums(found, "raw", "clean", "waiting") == [6, 6, 0]
    assert {row["id"].split("-")[0] for row in platform.rows("postgres")} == {"first", "second"}
    still_open = produce("open")
    platform.run()
    made = platform.backfill(tmp_path)
    assert (made.kept, made.gone) == (6 * PARTITIONS, 0), "markers and aborted events are no loss"
    found = platform.balance()
    assert (found.settled, sums(found, "raw", "waiting")) == (True, [6, 0]), "it holds no events yet"
    still_open.abort()
    platform.run()
    found = platform.balance()
    assert (found.settled, found.balanced, sums(found, "raw", "waiting")) == (True, True, [6, 0])


def test_a_forged_clean_record_shadows_no_event(platform: TestPlatform, caplog: pytest.LogCaptureFixture) -> None:
    """Raw offset 9·10^18, from who knows the password: passed over, told, counted; the next events reach the store."""
    put(platform, 1, 4)
    platform.run()
    for number, partition in enumerate(platform.log.topic(CLEAN).partitions):
        record = partition.read(0, partition.end, 1)[0]
        headers = {**dict(record.headers), "clearwell_offset": b"9000000000000000000"}
        append(platform.log, CLEAN, number, [(record.key, record.value, list(headers.items()))])
    put(platform, 6, 4)
    with caplog.at_level(logging.WARNING):
        platform.run()
    assert len(platform.rows("postgres")) == 8 * PARTITIONS
    assert caplog.text.count("as no raw event explains them") == PARTITIONS
    found = platform.balance()
    assert (found.total("forged"), found.balanced) == (PARTITIONS, False)

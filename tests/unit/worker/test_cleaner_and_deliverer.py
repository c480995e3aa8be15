"""What cleaners and deliverers do with the flights contract, over a log in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clearwell.contract.load import load, parse
from clearwell.contract.model import RejectionLimits
from clearwell.demo.flights import BROKEN
from clearwell.errors import Fatal
from clearwell.kafka.names import raw_topic
from clearwell.records import clean
from clearwell.testing import TestPlatform
from tests.support.platform import numbered

FLIGHTS = load(Path(__file__).parents[3] / "schemas" / "flights" / "v1.yaml")


def test_partition_order_and_raw_identity_are_kept() -> None:
    platform = TestPlatform(FLIGHTS, partitions=3)
    for partition in range(3):
        platform.put(*numbered(100, start=100 * partition), partition=partition)
    platform.clean(batch_size=30)
    for cleaned in platform.log.topic("clean.flights.v1").partitions:
        topics, offsets = clean.raw_identities(cleaned.read(0, cleaned.end, cleaned.end))
        assert set(topics) == {platform.log.topic_now(raw_topic("flights"))}
        assert offsets == list(range(100))


def test_each_poison_record_is_one_dead_letter_and_its_neighbours_flow() -> None:
    platform = TestPlatform(FLIGHTS)
    template = next(iter(numbered(1)))
    poison: list[bytes | None] = [line.replace(b"@", template[1:-1]) for line in BROKEN]
    poison += [None, b"", b" ", b'{"id":"' + b"y" * 1_000_000 + b'"}', b"\x00", b'{"id":"a' + b"\\u0000" + b'"}']
    good = numbered(2 * len(poison))
    mixed: list[bytes | None] = []
    for bad in poison:
        mixed += [next(good), bad, next(good)]
    platform.put(*mixed, partition=1)
    platform.run()
    assert platform.balance().balanced
    assert len(platform.rows("postgres")) == len(platform.rows("mongo")) == 2 * len(poison)
    assert [letter.offset for letter in platform.rejected()] == list(range(1, len(mixed), 3))
    for letter in platform.rejected():
        assert letter.reason
        assert (letter.partition, letter.event) == (1, mixed[letter.offset] or b"")


def test_the_rejection_limit_ends_the_cleaner_and_a_restart_does_not_forget_it() -> None:
    platform = TestPlatform(replace(FLIGHTS, limits=RejectionLimits(rejected=5, of_last=100)))
    platform.put(*numbered(20), *[b"{"] * 4)
    platform.clean()
    platform.put(*[b"{"] * 3)
    for _ in range(2):
        with pytest.raises(Fatal, match="more than 5 of the last 100 events were rejected"):
            platform.clean()
        assert len(platform.rejected()) == 4, "the batch that broke the rule is not written"
    platform.put(*numbered(100, start=20))
    with pytest.raises(Fatal):
        platform.clean()


def test_a_route_with_when_delivers_only_what_it_wants() -> None:
    platform = TestPlatform(parse(WITH_CONDITION, "payments/v1.yaml"))
    platform.put(*[{"id": f"e{n}", "at": "2026-01-01T00:00:00Z", "amount": n} for n in range(100)])
    platform.run()
    assert sorted(row["amount"] for row in platform.rows("postgres")) == list(range(50, 100))


WITH_CONDITION = """\
stream: payments
version: 1
owner: tests@example.com
description: Two kinds of events.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  amount: {type: int64, required: true}
routes:
  - {to: postgres, when: {field: amount, gte: 50}}
"""

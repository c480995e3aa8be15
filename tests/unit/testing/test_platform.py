"""The whole way of an event, in one process and in milliseconds."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clearwell.contract.load import parse
from clearwell.testing import TestPlatform
from connectors.file.config import FileConfig
from connectors.file.source import FileSource

CONTRACT = """\
stream: orders
version: 1
owner: team@example.com
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  amount: {type: int64, min: 0}
steps:
  - deduplicate: {by: id, window: 1000}
routes:
  - {to: postgres}
  - {to: mongo, when: {field: amount, gte: 50}}
limits: {rejected: 5, of_last: 100}
"""


def order(number: int, **more: object) -> dict[str, object]:
    return {"id": f"o{number:03}", "at": "2026-01-01T00:00:00Z", "amount": number} | more


def test_events_are_clean_delivered_dropped_or_dead() -> None:
    platform = TestPlatform(parse(CONTRACT, "orders/v1.yaml"))
    platform.put(*[order(number) for number in range(100)])
    platform.put(order(3), order(200, amount=-1), b"{", partition=0)
    platform.put(*[order(number) for number in range(100, 110)], partition=1)
    platform.run(batch_size=7)
    assert [row["amount"] for row in platform.rows("postgres")] == list(range(110))
    assert [row["amount"] for row in platform.rows("mongo")] == list(range(50, 110))
    assert platform.dropped() == {"1.deduplicate": 1}
    assert [(one.offset, one.field) for one in platform.rejected()] == [(101, "amount"), (102, "")]
    platform.put(order(300), partition=1)
    platform.run()
    assert len(platform.rows("postgres")) == 111


def test_a_model_gets_each_clean_event_once_and_goes_on_where_it_committed() -> None:
    platform = TestPlatform(parse(CONTRACT, "orders/v1.yaml"))
    platform.put(*[order(number) for number in range(30)])
    platform.put(*[order(number) for number in range(30, 60)], partition=1)
    platform.clean()
    learnt: list[int] = []
    with platform.subscription("learner", fields=["amount"], max_rows=10) as events:
        for batch in events:
            if len(learnt) < 40:
                learnt += batch.arrow().column("amount").to_pylist()
                batch.commit()
    with platform.subscription("learner", fields=["amount"]) as events:
        for batch in events:
            learnt += [row["amount"] for row in batch.dicts()]
            batch.commit()
    assert sorted(learnt) == list(range(60))
    with platform.subscription("learner") as events:
        assert list(events) == []


@pytest.mark.parametrize("seed", range(6))
def test_services_that_are_killed_at_random_lose_nothing_and_double_nothing(seed: int) -> None:
    platform = TestPlatform(parse(CONTRACT.replace("rejected: 5", "rejected: 99"), "orders/v1.yaml"), partitions=3)
    chance = random.Random(seed)
    for number in range(300):
        event = chance.choices([order(number), order(chance.randrange(number + 1)), b"{"], [8, 1, 1])[0]
        platform.put(event, partition=number % 3)
    kills = platform.run_with_kills(seed, batch_size=9)
    account = platform.balance()
    assert account.balanced, f"seed {seed}, {kills} kills: {account}"
    amounts = sorted({event["amount"] for event in platform.clean_events()})
    assert [row["amount"] for row in platform.rows("postgres")] == amounts
    assert [row["amount"] for row in platform.rows("mongo")] == [amount for amount in amounts if amount >= 50]
    with platform.subscription("learner") as events:
        learnt = [(batch.partition, offset) for batch in events for offset in batch.raw_offsets]
    assert len(learnt) == len(set(learnt)) == account.total("clean")


def test_a_connector_goes_on_where_its_events_were_acknowledged(tmp_path: Path) -> None:
    file = tmp_path / "orders.ndjson"
    lines = [json.dumps(order(number)) + "\n" for number in range(20)]
    file.write_text("".join(lines[:10]))
    platform = TestPlatform(parse(CONTRACT, "orders/v1.yaml"))
    assert platform.collect(FileSource(FileConfig(path=str(file))), "shop")
    file.write_text("".join(lines))
    assert platform.collect(FileSource(FileConfig(path=str(file))), "shop")
    platform.run()
    assert (len(platform.rows("postgres")), platform.balance().total("raw")) == (20, 20)


def test_a_backfill_writes_what_the_live_stream_gave(tmp_path: Path) -> None:
    platform = TestPlatform(parse(CONTRACT, "orders/v1.yaml"))
    platform.put(*[order(number) for number in range(40)], order(3), b"{")
    platform.run()
    made = platform.backfill(tmp_path)
    assert (made.kept, made.dropped, made.rejected) == (40, 1, 1)
    table = pq.read_table(tmp_path, partitioning=None)
    assert table.column("amount").to_pylist() == [event["amount"] for event in platform.clean_events()]
    platform.clock.advance(timedelta(days=8))
    platform.log.retain()
    assert platform.backfill(tmp_path / "later").kept == 0
    assert len(platform.rows("postgres")) == 40

"""Producers of others that use transactions: what they abort, or have not committed yet, is no event anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql

from clearwell.kafka.names import raw_topic
from clearwell.kafka.security import security_of
from tests.support.backfills import backfill
from tests.support.platform import PARTITIONS, Platform

pytestmark = pytest.mark.slow

CONTRACT = """
stream: $stream
version: 1
owner: me@example.com
description: Events of a foreign producer.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
routes:
  - {to: postgres, table: $stream}
"""


class Foreign:
    """A transactional producer of librdkafka; each transaction puts events into every partition."""

    def __init__(self, platform: Platform, name: str) -> None:
        security = security_of(platform.settings.kafka)
        login = {}
        if security.mechanism is not None:
            login = {
                "security.protocol": security.protocol,
                "sasl.mechanism": security.mechanism,
                "sasl.username": security.user,
                "sasl.password": security.password,
            }
        self._topic = raw_topic(platform.stream)
        self._producer = Producer(
            {"bootstrap.servers": platform.settings.kafka, "transactional.id": f"{platform.stream}-{name}", **login}
        )
        self._producer.init_transactions(30)

    def begin(self, name: str, count: int) -> list[str]:
        """Events of one open transaction; returns their ids."""
        self._producer.begin_transaction()
        ids = [f"{name}-{number}" for number in range(count)]
        for number, one in enumerate(ids):
            value = json.dumps({"id": one, "at": "2026-03-01T00:00:00Z"}).encode()
            self._producer.produce(self._topic, value, partition=number % PARTITIONS)
        assert self._producer.flush(30) == 0
        return ids

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        self._producer.abort_transaction(30)


def test_only_committed_events_are_cleaned_delivered_counted_and_backfilled(
    platform_of: Callable[[str], Platform], tmp_path: Path
) -> None:
    platform = platform_of(CONTRACT)
    sender, open_one = Foreign(platform, "sender"), Foreign(platform, "open")
    committed = sender.begin("first", 40)
    sender.commit()
    sender.begin("aborted", 40)
    sender.abort()
    committed += sender.begin("second", 40)
    sender.commit()
    platform.start("cleaner")
    platform.start("deliverer", "--destination", "postgres")
    found = platform.settle()
    assert found.balanced
    assert (found.total("raw"), found.total("clean"), found.total("waiting")) == (80, 80, 0)
    with psycopg.connect(platform.settings.postgres) as connection:
        rows = connection.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(platform.stream))).fetchall()
    assert {one for (one,) in rows} == set(committed)
    open_one.begin("open", 40)
    manifest = backfill(platform, "run", "--into", str(tmp_path / "sets"))["manifest"]
    assert (manifest["kept"], manifest["gone"]) == (80, 0), "markers and aborted events are no loss"
    found = platform.balance()
    assert (found.settled, found.total("waiting")) == (True, 0), "an open transaction holds no events yet"
    open_one.abort()
    found = platform.balance()
    assert (found.settled, found.balanced, found.total("waiting")) == (True, True, 0)

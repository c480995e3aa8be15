"""A topic with two partitions in the embedded Kafka, standing in for another cluster's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from clearwell.settings import Settings
from tests.support.kafka_login import login, login_options

LARGEST = 4_000_000


class KafkaCase:
    """Records go to the partitions in turn."""

    kind = "kafka"
    finite = True

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self.config: dict[str, Any] = {**login_options(bootstrap), "topic": topic, "follow": False, "batch_events": 100}
        self.broken = {
            "no such topic": {"topic": topic + "s"},
            "nobody listens": {"bootstrap": "127.0.0.1:1"},
            "no address": {"bootstrap": "somewhere"},
            "no login": {"password": None},
            "wrong login": {"password": "canary-wrong"},
            "in the clear": {"security": "plaintext"},
        }
        self._filled = 0
        self._admin = KafkaAdminClient(**login(bootstrap))
        self.make()
        self._producer = KafkaProducer(**login(bootstrap), max_request_size=LARGEST, metadata_max_age_ms=500)

    def make(self, partitions: int = 2) -> None:
        """Create the topic."""
        self._admin.create_topics(
            [NewTopic(self.topic, partitions, 1, topic_configs={"max.message.bytes": str(LARGEST)})]
        )
        self._admin.wait_for_topics([self.topic])

    def fill(self, count: int) -> None:
        """Append the next `count` records."""
        for n in range(self._filled, self._filled + count):
            self.put(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}' % (n, n), partition=n % 2)
        self._producer.flush()
        self._filled += count

    def put(self, value: bytes | None, **options: Any) -> None:
        """Append one record; `flush` makes it durable."""
        self._producer.send(self.topic, value=value, **options)

    def flush(self) -> None:
        """Wait until all is durable."""
        self._producer.flush()

    def delete(self) -> None:
        """Delete the topic."""
        self._admin.delete_topics([self.topic])

    def add_partitions(self, total: int) -> None:
        """Have `total` partitions from now on."""
        self._admin.create_partitions({self.topic: total})

    def cut(self, partition: int, before: int) -> None:
        """Delete the records before an offset, as retention does."""
        self._admin.delete_records({TopicPartition(self.topic, partition): before})

    def number(self, data: bytes) -> int:
        """The record's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Delete the topic, and let go."""
        self.delete()
        self._producer.close()
        self._admin.close()


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> KafkaCase:
    """A topic of its own."""
    return KafkaCase(settings.kafka, unique("other"))

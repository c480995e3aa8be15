"""A clean topic written as a cleaner would, and what follows it in this process."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import msgspec

from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.message_format import Record
from clearwell.kafka.names import clean_topic
from clearwell.kafka.producer import EventProducer
from clearwell.pipeline.clean import CleanCodec
from clearwell.records import clean
from clearwell.subscriptions.subscription import Subscription

FOLLOWER = Path(__file__).parents[1] / "e2e" / "follower.py"
PARTITIONS = 2
RAW_ID = "R" * 22


def follower() -> ModuleType:
    """The module of the follower process, for its schema."""
    spec = importlib.util.spec_from_file_location("follower", FOLLOWER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stream:
    """A stream's clean topic, written as a cleaner would."""

    def __init__(self, bootstrap: str, stream: str) -> None:
        self.bootstrap = bootstrap
        self.name = stream
        self.topic = clean_topic(stream, 1)
        admin.ensure_topics(bootstrap, stream, 1, partitions=PARTITIONS)
        self.producer = EventProducer(bootstrap, "test")
        self.module = follower()

    def write(self, partition: int, offsets: range, raw_id: str = RAW_ID) -> None:
        """Clean records of raw `offsets`, durable on return."""
        headers = clean.Headers(raw_id, partition, f"{self.name}/v1")
        records = [
            Record(
                None,
                msgspec.json.encode({"id": f"{partition}-{offset}", "n": offset}),
                headers.encode(offset),
                b"",
            )
            for offset in offsets
        ]
        self.producer.begin_at(self.topic, partition, records).wait()

    def follow(self, name: str, idle: float = 1.0, **options: object) -> Subscription:
        """A subscription in this process."""
        codec = CleanCodec(self.module.schema(self.name))
        return Subscription(name, KafkaLog(self.bootstrap), codec, idle=idle, **options)  # type: ignore[arg-type]

    def close(self) -> None:
        """Delete the topics."""
        self.producer.close()
        admin.delete_topics(
            self.bootstrap, [self.topic, f"raw.{self.name}", f"dead.{self.name}", f"dropped.{self.name}"]
        )


@contextmanager
def clean_stream(bootstrap: str, name: str) -> Iterator[Stream]:
    """A fresh one, deleted at the end."""
    made = Stream(bootstrap, name)
    yield made
    made.close()


def ids(subscription: Subscription, commit: bool = True) -> list[str]:
    """All that comes until it idles."""
    found = []
    for batch in subscription:
        found += [row["id"] for row in batch.dicts()]
        if commit:
            batch.commit()
    return found


def every(*ranges: tuple[int, range]) -> list[str]:
    """The ids of raw offsets by partition, sorted."""
    return sorted(f"{partition}-{offset}" for partition, offsets in ranges for offset in offsets)

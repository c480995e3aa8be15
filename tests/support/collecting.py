"""What the collector's tests share: a stream of their own with its contract, connectors, the raw topic read."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from clearwell.backoff import retry_until_available
from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.registry import Connector, Registry, SavedPosition, connectors, migrate, positions
from clearwell.settings import Settings
from services.collector.collector import Collector
from tests.support.kafka_login import login
from tests.support.publishing import forget_contract, publish_contract

CONTRACT = """stream: {stream}
version: 1
owner: tests@example.com
description: Events of a test.
key: id
event_id: id
event_time: at
unknown_fields: drop
fields:
  id: {{type: string, required: true}}
  at: {{type: timestamp, required: true}}
  n: {{type: int64}}
"""

CHECKOUT = Path(__file__).parents[2]


class Sandbox:
    """One stream on the test stack with its own contract folder; `where` are the settings of its services."""

    def __init__(self, stack: Settings, stream: str, folder: Path) -> None:
        self.stream = stream
        self.folder = folder
        schemas = folder / "schemas"
        (schemas / stream).mkdir(parents=True)
        self.contract_file = schemas / stream / "v1.yaml"
        self.contract_file.write_text(CONTRACT.format(stream=stream))
        self.settings = replace(stack, schemas=schemas)
        migrate(stack.postgres)
        self.registry = Registry(stack.postgres)
        self.publish()
        self.names: list[str] = []
        self._next: dict[int, int] = {}

    def publish(self) -> None:
        """Put the contract's text, as its file has it now, into the registry."""
        publish_contract(self.settings.postgres, self.contract_file)

    def add(self, name: str, source: str = "file", **config: Any) -> str:
        """Register a connector into the stream without checking it."""
        with self.registry.session() as session:
            connectors.add(session, name, source, self.stream, config)
        self.names.append(name)
        return name

    def state(self, name: str) -> tuple[Connector, SavedPosition]:
        """What the registry knows of a connector."""
        with self.registry.session() as session:
            return connectors.get(session, name), positions.load(session, name)

    def collect(self, name: str) -> int:
        """Run the connector in this process until it is finished or failing; the exit code."""
        return asyncio.run(Collector(self.registry, self.settings, [name]).run(asyncio.Event(), once=True))

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A collector as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "services.collector", *args],
            env=self.environment(),
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self) -> Mapping[str, str]:
        """The environment of a service of this stream."""
        return os.environ | {
            "CLEARWELL_HOME": str(self.settings.home),
            "CLEARWELL_SCHEMAS": str(self.settings.schemas),
            "CLEARWELL_KEYS": str(self.settings.keys),
            "CLEARWELL_LEASE_SECONDS": "3",  # a killed collector's connector is soon free again
            "CLEARWELL_LISTEN": "127.0.0.1:0",
        }

    def new_records(self) -> list[Any]:
        """The raw records that came since the last call, in order within each partition."""
        topic = raw_topic(self.stream)
        ends = retry_until_available(lambda: admin.end_offsets(self.settings.kafka, topic))
        waiting = {p: end for p, end in ends.items() if end > self._next.get(p, 0)}
        found: list[Any] = []
        if not waiting:
            return found
        consumer = KafkaConsumer(**login(self.settings.kafka), group_id=None, enable_auto_commit=False)
        places = {p: TopicPartition(topic, p) for p in waiting}
        consumer.assign(list(places.values()))
        for p, place in places.items():
            consumer.seek(place, self._next.get(p, 0))
        while any(consumer.position(places[p]) < end for p, end in waiting.items()):
            for records in consumer.poll(timeout_ms=1000, max_records=50_000).values():
                found += [record for record in records if record.offset < waiting[record.partition]]
        consumer.close()
        self._next |= waiting
        return found

    def close(self) -> None:
        """Forget connectors and topics."""
        with self.registry.session() as session:
            for name in self.names:
                if connectors.find(session, name) is not None:
                    connectors.remove(session, name)
        forget_contract(self.settings.postgres, self.stream)
        self.registry.close()
        admin.delete_topics(self.settings.kafka, [f"{kind}.{self.stream}" for kind in ("raw", "dead", "dropped")])
        admin.delete_topics(self.settings.kafka, [f"clean.{self.stream}.v1"])


def header(record: Any, name: str) -> str | None:
    """One header of a record as text, None when it is not there."""
    return next((value.decode() for key, value in record.headers if key == name), None)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so. Raises AssertionError when that takes longer than `seconds`."""
    waiting = threading.Event()
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} seconds"
        waiting.wait(0.05)

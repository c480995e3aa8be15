"""How aiokafka asks Kafka, wherever we use it: only what is committed is read, and no topic is made by asking for it.

A broker with `auto.create.topics.enable` (Kafka's default) makes a topic for whoever asks where it is. aiokafka always
allows that, and has no option against it: a raw topic that was deleted was made again by our own cleaner, with one
partition. kafka-python has the option; `clearwell.kafka.clients` sets it.
"""

from __future__ import annotations

from typing import Any

from aiokafka import client
from aiokafka.protocol.metadata import MetadataRequest

READ_COMMITTED = "read_committed"
"""The isolation level of every consumer of ours: what a transaction has not committed is no event (yet)."""


class ModestRequest(MetadataRequest):  # type: ignore[misc] # aiokafka has no types here
    """A question for topics, which creates none."""

    def __init__(self, topics: Any = None, allow_auto_topic_creation: bool | None = False) -> None:
        super().__init__(topics, allow_auto_topic_creation)


def never_create_topics() -> None:
    """From now on no aiokafka client of this process makes a topic by asking (tests/unit/worker/test_faust_pin.py)."""
    client.MetadataRequest = ModestRequest

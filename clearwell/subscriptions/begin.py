"""Sets where a new subscription begins, before any model follows it."""

from __future__ import annotations

from typing import Literal

from clearwell.errors import ConfigError
from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import model_group
from clearwell.subscriptions.position import Position

Start = Literal["earliest", "latest"]


def begin(client: LogClient, name: str, topic: str, start: Start) -> tuple[str, dict[int, int]]:
    """Commit where `model.<name>` begins on a clean topic, and forget what it has seen.

    Returns the topic's id, and partition → offset.

    "latest" is the end of each partition as it is now, so that a model started later has no gap.
    Raises ConfigError when a model is following under that name, Retryable when Kafka does not answer.
    """
    topic_id = str(client.topic_now(topic))
    offsets = client.begin_offsets(topic) if start == "earliest" else client.end_offsets(topic)
    stored = {partition: Position(topic_id, offset).stored() for partition, offset in offsets.items()}
    if not client.commit(model_group(name), topic, stored):
        raise ConfigError(f'A model is following "{name}" now: stop it before you change where it begins.')
    return topic_id, dict(sorted(offsets.items()))

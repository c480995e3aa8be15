"""Sets where a new subscription begins, before any model follows it."""

from __future__ import annotations

from typing import Literal

from kafka import KafkaConsumer, TopicPartition, errors

from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.clients import connect
from clearwell.kafka.failures import translated
from clearwell.kafka.names import model_group
from clearwell.subscriptions.position import Position

Start = Literal["earliest", "latest"]


def begin(bootstrap: str, name: str, topic: str, start: Start) -> tuple[str, dict[int, int]]:
    """Commit where `model.<name>` begins on a clean topic, and forget what it has seen.

    Returns the topic's id, and partition → offset.

    "latest" is the end of each partition as it is now, so that a model started later has no gap.
    Raises ConfigError when a model is following under that name, Retryable when Kafka does not answer.
    """
    topic_id = admin.topic_id(bootstrap, topic)
    offsets = admin.begin_offsets(bootstrap, topic) if start == "earliest" else admin.end_offsets(bootstrap, topic)
    group = model_group(name)
    with translated(bootstrap, f"setting where {group} begins"):
        consumer = connect(KafkaConsumer, bootstrap, group_id=group, enable_auto_commit=False, metrics_enabled=False)
        try:
            places = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
            consumer.assign(list(places))
            consumer.commit(
                {place: Position(topic_id, offset).committed() for place, offset in places.items()},
                timeout_ms=admin.TIMEOUT_MS,
            )
        except (errors.CommitFailedError, errors.UnknownMemberIdError, errors.IllegalGenerationError):
            raise ConfigError(
                f'A model is following "{name}" now: stop it before you change where it begins.'
            ) from None
        finally:
            consumer.close(timeout_ms=admin.TIMEOUT_MS)
    return topic_id, dict(sorted(offsets.items()))

"""A commit after the loop was left: it counts if nobody has followed since."""

from __future__ import annotations

from kafka import KafkaConsumer, TopicPartition, errors

from clearwell.kafka import admin
from clearwell.kafka.clients import connect
from clearwell.kafka.failures import translated
from clearwell.kafka.names import model_group
from clearwell.subscriptions.position import Position, resume

LOST = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.FencedInstanceIdError,
)
"""How Kafka refuses the commit of one who is not, or no longer, the member that holds the partition."""


def commit_late(bootstrap: str, name: str, topic: str, partition: int, committed: int, position: Position) -> bool:
    """Commit for a group without members whose position in this partition still is `committed`; whether it did.

    Raises Retryable when Kafka does not answer.
    """
    group, place = model_group(name), TopicPartition(topic, partition)
    with translated(bootstrap, f"committing for {group}"):
        consumer = connect(KafkaConsumer, bootstrap, group_id=group, enable_auto_commit=False, metrics_enabled=False)
        try:
            consumer.assign([place])
            known = consumer.committed(place, metadata=True, timeout_ms=admin.TIMEOUT_MS)
            same_topic = admin.topic_id(bootstrap, topic) == position.topic_id
            if not same_topic or resume(known, position.topic_id).offset != committed:
                return False
            consumer.commit({place: position.committed()}, timeout_ms=admin.TIMEOUT_MS)
            return True
        except LOST:  # the group has members
            return False
        finally:
            consumer.close(timeout_ms=admin.TIMEOUT_MS)

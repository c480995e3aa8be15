"""A commit after the loop was left: it counts if nobody has followed since."""

from __future__ import annotations

from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import model_group
from clearwell.subscriptions.position import Position, resume


def commit_late(client: LogClient, name: str, topic: str, partition: int, committed: int, position: Position) -> bool:
    """Commit for a group without members whose position in this partition still is `committed`; whether it did.

    Raises Retryable when Kafka does not answer.
    """
    group = model_group(name)
    stored = client.committed(group, topic).get(partition)
    same_topic = client.topic_now(topic) == position.topic_id
    if not same_topic or resume(stored, position.topic_id).offset != committed:
        return False
    return client.commit(group, topic, {partition: position.stored()})

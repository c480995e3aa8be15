"""The ends of many topics in few requests: what a status of all streams asks for."""

from __future__ import annotations

from collections.abc import Collection

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.protocol.consumer import IsolationLevel

from clearwell.kafka.admin import ask, describe


def ends_of(bootstrap: str, topics: Collection[str]) -> dict[str, dict[int, int]]:
    """Topic → partition → offset after the last record that may be read; topics that do not exist are left out. Blocks.

    One request for all topics, and one for each broker that leads partitions of them.
    Raises Retryable when Kafka does not answer.
    """
    if not topics:
        return {}
    described = describe(bootstrap, sorted(topics))
    ends: dict[str, dict[int, int]] = {topic: {} for topic in described}
    asked = {
        TopicPartition(topic, partition["partition_index"]): OffsetSpec.LATEST
        for topic, answer in described.items()
        for partition in answer["partitions"]
    }
    if asked:
        answers = ask(
            bootstrap,
            "reading the ends of topics",
            lambda client: client.list_partition_offsets(asked, IsolationLevel.READ_COMMITTED),
        )
        for partition, answer in answers.items():
            ends[partition.topic][partition.partition] = answer.offset
    return ends

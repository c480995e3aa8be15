"""What consumer groups have committed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from kafka import TopicPartition, errors
from kafka.structs import OffsetAndMetadata

from clearwell.errors import Retryable
from clearwell.kafka.admin import ask
from clearwell.kafka.failures import as_ours

COORDINATOR_SECONDS = 10.0
"""How long a new cluster may take to name the broker that keeps a group's offsets."""

_HAS_MEMBERS = (errors.UnknownMemberIdError, errors.IllegalGenerationError, errors.RebalanceInProgressError)


def committed(bootstrap: str, group: str, topic: str) -> dict[int, tuple[int, str]]:
    """Partition → (next offset, metadata stored beside it) of a group; empty when it never committed.

    Blocks. Raises Retryable when Kafka does not answer.
    """
    found = ask(bootstrap, f"reading the offsets of {group}", lambda client: client.list_group_offsets([group]))
    return {
        place.partition: (known.offset, known.metadata or "")
        for place, known in found[group].items()
        if place.topic == topic and known.offset >= 0
    }


def commit(bootstrap: str, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> bool:
    """Store partition → (next offset, metadata) for a group without members; False where it has some.

    Blocks. Raises Retryable when Kafka does not answer.
    """
    stored = {TopicPartition(topic, at): OffsetAndMetadata(*known, -1) for at, known in offsets.items()}
    until = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            return _try_to_commit(bootstrap, group, stored)
        except Retryable:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _try_to_commit(bootstrap: str, group: str, stored: Mapping[TopicPartition, OffsetAndMetadata]) -> bool:
    doing = f"setting where {group} stands"
    answers = ask(bootstrap, doing, lambda client: client.alter_group_offsets(group, stored)).values()
    failures = [error for error in answers if error is not errors.NoError]
    if any(issubclass(error, _HAS_MEMBERS) for error in failures):
        return False
    for error in failures:
        raise as_ours(error(), bootstrap, doing)
    return True

"""Consumer groups: what they have committed, how far behind they are, and whether anybody is in them.

Every function blocks, and raises Retryable when Kafka does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from kafka import KafkaAdminClient, TopicPartition, errors
from kafka.admin import MemberToRemove
from kafka.structs import OffsetAndMetadata

from clearwell.kafka.admin import ask, begin_offsets, end_offsets, partition_count

COORDINATOR_SECONDS = 10.0
"""How long a new cluster may take to name the broker that keeps a group's offsets."""

T = TypeVar("T")
_HAS_MEMBERS = (errors.UnknownMemberIdError, errors.IllegalGenerationError, errors.RebalanceInProgressError)
_NO_COORDINATOR_YET = (
    errors.CoordinatorLoadInProgressError,
    errors.CoordinatorNotAvailableError,
    errors.NotCoordinatorError,
)


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """Where a group is in a partition that holds offsets [first, end); `next_offset` None: it never committed."""

    partition: int
    next_offset: int | None
    first: int
    end: int

    @property
    def lag(self) -> int:
        """Offsets that are still to be read."""
        return max(0, self.end - max(self.next_offset or 0, self.first))


def committed(bootstrap: str, group: str, topic: str) -> dict[int, tuple[int, str]]:
    """Partition → (next offset, metadata stored beside it) of a group; empty when it never committed."""
    answers = _ask(bootstrap, f"reading the offsets of {group}", lambda client: client.list_group_offsets([group]))
    return {
        topic_partition.partition: (known.offset, known.metadata or "")
        for topic_partition, known in answers[group].items()
        if topic_partition.topic == topic and known.offset >= 0
    }


def committed_by(bootstrap: str, group_names: Collection[str]) -> dict[str, dict[TopicPartition, int]]:
    """Group → partition of a topic → next offset, of many groups in a request for each broker that keeps them."""
    if not group_names:
        return {}
    asked = sorted(group_names)
    answers = _ask(bootstrap, "reading the offsets of groups", lambda client: client.list_group_offsets(asked))
    return {
        group: {partition: known.offset for partition, known in offsets.items() if known.offset >= 0}
        for group, offsets in answers.items()
    }


def commit(bootstrap: str, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> bool:
    """Store partition → (next offset, metadata) for a group without members; False where it has some."""
    stored = {TopicPartition(topic, at): OffsetAndMetadata(*known, -1) for at, known in offsets.items()}

    def commit_offsets(client: KafkaAdminClient) -> bool:
        answers = client.alter_group_offsets(group, stored).values()
        failures = [error for error in answers if error is not errors.NoError]
        if any(issubclass(error, _HAS_MEMBERS) for error in failures):
            return False
        for error in failures:
            raise error()
        return True

    return _ask(bootstrap, f"setting where {group} stands", commit_offsets)


def positions(bootstrap: str, group: str, topic: str) -> list[GroupPosition]:
    """By partition of the topic, where a group is and what the partition holds."""
    offsets = committed(bootstrap, group, topic)
    first, ends = begin_offsets(bootstrap, topic), end_offsets(bootstrap, topic)
    return [
        GroupPosition(partition, offsets[partition][0] if partition in offsets else None, first[partition], end)
        for partition, end in sorted(ends.items())
    ]


def has_members(bootstrap: str, group: str) -> bool:
    """Whether anybody reads in this group now."""
    known = _ask(bootstrap, f"looking at {group}", lambda client: client.describe_groups([group]))
    return bool(known[group]["members"])


def remove_members(bootstrap: str, group: str) -> None:
    """Have everybody leave the group; whoever is alive may come again."""

    def remove(client: KafkaAdminClient) -> None:
        members = client.describe_groups([group])[group]["members"]
        leaving = [
            MemberToRemove(group_instance_id=member["group_instance_id"], member_id=member["member_id"])
            for member in members
        ]
        client.remove_group_members(group, leaving)

    _ask(bootstrap, f"ending the members of {group}", remove)


def delete(bootstrap: str, group: str) -> bool:
    """Have Kafka forget a group and what it committed; False, and nothing has changed, while it has members."""

    def delete_group(client: KafkaAdminClient) -> bool:
        outcome = client.delete_groups([group])[group]
        if outcome not in ("OK", "GroupIdNotFoundError", "NonEmptyGroupError"):
            raise getattr(errors, outcome)
        return bool(outcome != "NonEmptyGroupError")

    return _ask(bootstrap, f"deleting {group}", delete_group)


def _ask(bootstrap: str, doing: str, question: Callable[[KafkaAdminClient], T]) -> T:
    def ask_coordinator(client: KafkaAdminClient) -> T:
        until = time.monotonic() + COORDINATOR_SECONDS
        while True:
            try:
                return question(client)
            except _NO_COORDINATOR_YET:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    return ask(bootstrap, doing, ask_coordinator)


def unheld(bootstrap: str, group: str, topic: str) -> set[int] | None:
    """The partitions of a topic that no member holds; None while the group is being formed. Raises Retryable."""
    partitions = set(range(partition_count(bootstrap, topic)))
    description = ask(bootstrap, f"looking at {group}", lambda client: client.describe_groups([group]))[group]
    if description["group_state"] != "Stable":
        return None
    for member in description["members"]:
        assignment = member["member_assignment"] or {"assigned_partitions": []}  # no bytes at all: nothing
        for held in assignment["assigned_partitions"]:
            if held["topic"] == topic:
                partitions.difference_update(held["partitions"])
    return partitions

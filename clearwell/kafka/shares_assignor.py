"""Shares a clean topic among the members of a group, and leaves with each what its model is at work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

_VERSION = 0
_claims = msgspec.json.Decoder(list[int])


class SharesAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Even shares. Each member says when it joins what it holds, the batch at work first, and keeps its share of that.

    A member that comes therefore takes only what others have too much of: a batch that takes hours stays committable.
    """

    name = "clearwell"

    def __init__(self, claims: Callable[[], Sequence[int]]) -> None:
        """`claims` is asked at each join for the partitions that this member would keep, the dearest first."""
        self._claims = claims

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells the group's leader."""
        return ConsumerProtocolSubscription(_VERSION, list(topics), msgspec.json.encode(list(self._claims())))

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """As the group's leader: each member's partitions; all members follow the same one topic."""
        topic = next(iter(members[0].metadata.topics))
        claims = {member.member_id: _claimed(member.metadata.user_data) for member in members}
        assigned = shares(sorted(cluster.partitions_for_topic(topic) or ()), claims)
        return {
            member: ConsumerProtocolAssignment(_VERSION, [(topic, partitions)] if partitions else [], b"")
            for member, partitions in assigned.items()
        }

    def on_assignment(self, assignment: Any, generation: int) -> None:
        """Nothing is remembered here."""


def _claimed(user_data: bytes | None) -> list[int]:
    try:
        return _claims.decode(user_data or b"[]")
    except msgspec.DecodeError:  # of a program of others in our group
        return []


def shares(partitions: Sequence[int], claims: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Member → partitions, none of two members more than one apart; claims are met in order, up to an even share."""
    least, extra = divmod(len(partitions), len(claims))
    free = dict.fromkeys(partitions)
    assigned: dict[str, list[int]] = {}
    quotas: dict[str, int] = {}
    for rank, member in enumerate(sorted(claims, key=lambda name: (-len(claims[name]), name))):
        quotas[member] = least + (rank < extra)  # who holds most keeps the odd one
        kept = [partition for partition in dict.fromkeys(claims[member]) if partition in free][: quotas[member]]
        for partition in kept:
            del free[partition]
        assigned[member] = kept
    for member, kept in assigned.items():
        for partition in list(free)[: quotas[member] - len(kept)]:
            del free[partition]
            kept.append(partition)
    return {member: sorted(kept) for member, kept in assigned.items()}

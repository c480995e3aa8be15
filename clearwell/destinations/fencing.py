"""What a late owner of a partition is told (invariant 4); one wording for every store."""

from __future__ import annotations

from clearwell.destinations.protocol import CleanBatch
from clearwell.errors import Fenced


def older_generation(group: str, partition: int, generation: int, kept_in: str) -> Fenced:
    """The error of a claim that comes too late; `kept_in` says where the store keeps its positions."""
    return Fenced(
        f"Partition {partition} was claimed by a later member of {group} than generation {generation}: another "
        f"deliverer is at work. If none is, and the group was deleted in Kafka, set generation to 0 in {kept_in}."
    )


def older_epoch(group: str, batch: CleanBatch) -> Fenced:
    """The error of a write that comes too late."""
    return Fenced(
        f"Partition {batch.partition} of {group} is no longer ours (epoch {batch.epoch}): another deliverer has taken "
        "it over and goes on from what was written."
    )

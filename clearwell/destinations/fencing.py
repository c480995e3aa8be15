"""What a late owner of a partition is told (invariant 4); one wording for every store."""

from __future__ import annotations

from clearwell.destinations.protocol import CleanBatch
from clearwell.errors import Fenced

_GENERATIONS = 32
"""Bits of a claim that are Kafka's generation; those above are the group's incarnation."""


def claim_number(incarnation: int, generation: int) -> int:
    """What stores compare (63 bits): a later incarnation of a group beats every generation of an earlier one."""
    return incarnation << _GENERATIONS | generation


def older_generation(group: str, partition: int, number: int, kept_in: str) -> Fenced:
    """The error of a claim that comes too late; `kept_in` says where the store keeps its positions."""
    generation = number & (1 << _GENERATIONS) - 1
    return Fenced(
        f"Partition {partition} was claimed by a later member of {group} than generation {generation}, as {kept_in} "
        f"says: another deliverer is at work. If none is, Kafka's account of the group went back: delete it there "
        f"(`kafka-consumer-groups.sh --delete --group {group}`), and the next one begins a new one."
    )


def older_epoch(group: str, batch: CleanBatch) -> Fenced:
    """The error of a write that comes too late."""
    return Fenced(
        f"Partition {batch.partition} of {group} is no longer ours (epoch {batch.epoch}): another deliverer has taken "
        "it over and goes on from what was written."
    )

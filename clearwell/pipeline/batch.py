"""What goes into a pipeline and what comes out: parallel lists, since a batch is the unit of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Raw events of one partition of one incarnation of a raw topic, in offset order.

    `topic_id` is Kafka's id of the topic (KIP-516, 22 characters): a recreated topic is a new identity (invariant 3).
    `offsets` may have holes. `values` are the bytes on the wire; None is a tombstone. Both have the same length.
    `refused` maps offsets of items that the source could make no event of to why: they are rejected unread.
    """

    topic_id: str
    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One bad event, as a value (invariant 5). The reason never quotes data (invariant 9).

    `step` is "source", "decode", "validate", "protect" or "<number>.<step name>" (numbered from 1 as written in the
    contract); `field` is "" where the whole event is meant.
    """

    offset: int
    reason: str
    step: str
    field: str = ""


@dataclass(slots=True)
class Outcomes:
    """Exactly one outcome for each event of a batch (invariant 5), in offset order within each list.

    kept: `offsets[i]` goes out under Kafka key `keys[i]` as JSON `values[i]`.
    dropped: pairs (offset, "<number>.<step name>"), by a declared rule.
    rejected: dead letters to be.
    """

    offsets: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    dropped: list[tuple[int, str]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

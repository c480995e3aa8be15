"""What a store must do to receive clean events: idempotent, ordered, and fenced (invariant 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """What a store knew about a partition when it was claimed.

    `epoch` grows with each claim; a write under an older epoch is refused. `next_offset` is the clean offset to read
    next (0 for a new one). `marks` maps a raw topic id to the highest raw offset delivered: repeats end at or below it.
    """

    epoch: int
    next_offset: int
    marks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What has passed into a store from one clean partition, in events, since the claim of its offset 0."""

    partition: int
    next_offset: int
    delivered: int
    unrouted: int
    repeats: int


@dataclass(frozen=True, slots=True)
class CleanBatch:
    """Clean events of one partition, in order, repeats already removed.

    `rows[i]` holds Python values in the order of `CleanSchema.fields`; `raw_topics[i]`/`raw_offsets[i]` is its raw
    identity, its raw partition is `partition` (invariant 3). Values are str (also of a protected field), int, float,
    Decimal, bool, datetime with a time zone, date, bytes, list, what `json.loads` gives for json, and None.
    The batch covers clean offsets up to (not including) `next_offset`, also where `rows` is empty.
    `unrouted` and `repeats` count the events of that range that are not in `rows`; `marks` is the state after it.
    """

    topic_id: str
    partition: int
    next_offset: int
    epoch: int
    rows: Sequence[tuple[Any, ...]]
    raw_topics: Sequence[str]
    raw_offsets: Sequence[int]
    marks: Mapping[str, int]
    unrouted: int = 0
    repeats: int = 0

    def coordinates(self) -> str:
        """Which batch this is, for messages: never its data (invariant 9)."""
        raw = f" (raw offsets {self.raw_offsets[0]} to {self.raw_offsets[-1]})" if self.raw_offsets else ""
        return f"partition {self.partition} of topic {self.topic_id} before offset {self.next_offset}{raw}"


class Destination(Protocol):
    """One store of one stream. Not thread-safe: one thread uses one destination at a time.

    Rows follow `newest.py`: one a key, replaced only by a newer one. Every method connects when it has to, so the same
    call may be made again after Retryable; a batch that was written then changes nothing, counters included.

    Every method raises Retryable when the store is not there or not well, ConfigError when rights, names or types are
    wrong, Fatal when going on would break an invariant.
    """

    name: str

    def open(self) -> None:
        """Connect; create or widen what holds the rows (added columns only). Calling it again is harmless."""

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """Take a clean partition over. Raises Fenced when `generation` is older than one the store has seen."""

    def write(self, batch: CleanBatch) -> None:
        """Make the rows durable, then the position; doing it again changes nothing. Raises Fenced on an old epoch."""

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """What was delivered from each partition of a clean topic."""

    def held(self) -> int:
        """How many rows the store holds for this stream (distinct keys)."""

    def close(self) -> None:
        """Let go of connections; calling it again is harmless."""

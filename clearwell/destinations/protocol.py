"""What a store must do to receive clean events: idempotent, ordered, and fenced (invariant 4).

A new destination costs one file with one class, one entry-point line (group `clearwell.destinations`: kind = class),
and a ten-line test of `clearwell.testing.DestinationSuite`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import msgspec

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.errors import ClearwellError
from clearwell.settings import Settings


class RowReason(StrEnum):
    """Why a store can't take a row: a closed list, so that no header can bring data into a reason (invariant 9)."""

    TOO_LARGE = "the row is larger than the store takes"
    NOT_UNIQUE = "another row has the same value of a unique index"
    OUT_OF_RANGE = "a value is out of the store's range"
    WRONG_TYPE = "a value does not fit the store's type"
    CONSTRAINT = "a constraint of the store refuses the row"
    AHEAD = "the event's time is too far ahead of the clock"
    REJECTED = "the receiver refuses the event"


class RowsRefused(ClearwellError):
    """A store refuses what a row of the batch holds, and wrote nothing of the batch.

    The deliverer halves the batch until it has the one row; that becomes a dead letter of this destination alone.
    """

    def __init__(self, reason: RowReason, message: str) -> None:
        """`message` is one sentence without data."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claim:
    """What a store knew about a partition when it was claimed.

    `epoch` grows with each claim; a write under an older epoch is refused. `next_offset` is the clean offset to read
    next (0 for a new one). `high_watermarks` maps a raw topic id to the highest raw offset delivered: duplicates end at
    or below it.
    """

    epoch: int
    next_offset: int
    high_watermarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What has passed into a store from one clean partition, in events, since the claim of its offset 0.

    `refused` became dead letters of this destination.
    """

    partition: int
    next_offset: int
    delivered: int = 0
    unrouted: int = 0
    repeats: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class CleanBatch:
    """Clean events of one partition, in order, repeats already removed.

    `rows[i]` holds Python values in the order of `CleanSchema.fields`, `values[i]` is the same event as it is in the
    clean topic (JSON bytes), `offsets[i]` its clean offset; `raw_topics[i]`/`raw_offsets[i]` is its raw identity, its
    raw partition is `partition` (invariant 3). Values of rows are str (also of a protected field), int, float, Decimal,
    bool, datetime with a time zone, date, bytes, list, what `json.loads` gives for json, and None.
    The batch covers clean offsets up to (not including) `next_offset`, also where `rows` is empty.
    `unrouted`, `repeats` and `refused` are the clean offsets of that range that are not in `rows`, by why they are not.
    `high_watermarks` is the state after the batch.
    """

    topic_id: str
    partition: int
    next_offset: int
    epoch: int
    rows: Sequence[tuple[Any, ...]]
    values: Sequence[bytes]
    offsets: Sequence[int]
    raw_topics: Sequence[str]
    raw_offsets: Sequence[int]
    high_watermarks: Mapping[str, int]
    unrouted: Sequence[int] = ()
    repeats: Sequence[int] = ()
    refused: Sequence[int] = ()

    def coordinates(self) -> str:
        """Which batch this is, for messages: never its data (invariant 9)."""
        raw = f" (raw offsets {self.raw_offsets[0]} to {self.raw_offsets[-1]})" if self.raw_offsets else ""
        return f"partition {self.partition} of topic {self.topic_id} before offset {self.next_offset}{raw}"

    def halves(self) -> tuple[CleanBatch, CleanBatch]:
        """Two batches that together are this one, which has at least two rows; each may be written by itself, in order.

        The first one's marks end right before the second one's raw offsets: nothing of the second looks like a repeat.
        """
        middle = len(self.rows) // 2
        border = self.offsets[middle]
        high_watermarks = dict(self.high_watermarks)
        for topic, offset in zip(reversed(self.raw_topics[middle:]), reversed(self.raw_offsets[middle:]), strict=True):
            high_watermarks[topic] = offset - 1
        first = replace(
            self._part(slice(0, middle), -1, border),
            next_offset=border,
            high_watermarks={t: m for t, m in high_watermarks.items() if m >= 0},
        )
        return first, self._part(slice(middle, None), border, self.next_offset)

    def without_row(self) -> CleanBatch:
        """The batch of one row, with that row among the refused."""
        return replace(
            self, rows=(), values=(), offsets=(), raw_topics=(), raw_offsets=(), refused=[*self.refused, *self.offsets]
        )

    def _part(self, rows: slice, first: int, end: int) -> CleanBatch:
        return replace(
            self,
            rows=self.rows[rows],
            values=self.values[rows],
            offsets=self.offsets[rows],
            raw_topics=self.raw_topics[rows],
            raw_offsets=self.raw_offsets[rows],
            unrouted=[offset for offset in self.unrouted if first <= offset < end],
            repeats=[offset for offset in self.repeats if first <= offset < end],
            refused=[offset for offset in self.refused if first <= offset < end],
        )


def counts_of(batch: CleanBatch) -> dict[str, int]:
    """What a batch adds to a store's accounts, by the names of `Accounts`."""
    return {
        "delivered": len(batch.rows),
        "unrouted": len(batch.unrouted),
        "repeats": len(batch.repeats),
        "refused": len(batch.refused),
    }


class DestinationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what `clearwell destination register` is told: where a store is, and how to get in.

    Mark fields PATH, SECRET and SECRET_IN_URL as in `clearwell.source.SourceConfig` (invariant 10). The class without
    arguments, where all has defaults, is what a route without a name means: `to: postgres` is the platform's own.
    """


@dataclass(frozen=True, slots=True)
class DestinationContext:
    """One route of one stream: what a destination is made for.

    `name` is what stands after the kind in `to: kind.name` (None: nothing); `config` and `options` are of the
    destination's own classes, references resolved; `group` is whose positions these are.
    """

    settings: Settings
    name: str | None
    config: Any
    options: Any
    schema: CleanSchema
    group: str


class Destination(Protocol):
    """One store of one stream. Not thread-safe: one thread uses one destination at a time.

    Rows follow `newest.py`: one a key, replaced only by a newer one, unless `keeps_history`: then every event is kept
    once, by its raw identity. Every method connects when it has to, so the same call may be made again after Retryable;
    a batch that was written then changes nothing, counters included.

    Every method raises Retryable when the store is not there or not well, ConfigError when rights, names or types are
    wrong, Fatal when going on would break an invariant. No message holds data or secrets.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[DestinationConfig]]
    Options: ClassVar[type[RouteOptions]]
    keeps_history: ClassVar[bool]
    registered: ClassVar[bool]
    """Whether the name in `to: kind.name` is that of a registered store; else it is the destination's own business."""

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """Made for a route; does no I/O. Raises ConfigError when a name or type can't be in that store."""

    def open(self) -> None:
        """Connect; create or widen what holds the rows (added columns only). Calling it again is harmless."""

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """Take a clean partition over. Raises Fenced when `generation` is older than one the store has seen."""

    def write(self, batch: CleanBatch) -> None:
        """Make the rows durable, then the position; doing it again changes nothing. Raises Fenced on an old epoch.

        Raises RowsRefused, having moved nothing, when the store can't take a row for what it holds.
        """

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """What was delivered from each partition of a clean topic."""

    def row_count(self) -> int | None:
        """How many rows the store holds for this stream (distinct keys; with `keeps_history`: events).

        None for one that can't tell, since what it gives away is not its own: a webhook, a topic.
        """

    def close(self) -> None:
        """Let go of connections; calling it again is harmless."""


@runtime_checkable
class Reachable(Protocol):
    """A destination whose positions are elsewhere than its events, so that `accounts` does not prove it is there."""

    def reach(self) -> None:
        """Connect to where events go, and send none. Raises as the methods of `Destination` do."""


@runtime_checkable
class Inspectable(Protocol):
    """A destination that can tell whether what holds its rows is there, without making it."""

    def is_there(self) -> bool:
        """Whether its table, collection or index is there. Raises as the methods of `Destination` do."""


@runtime_checkable
class LeavesOut(Protocol):
    """A destination that may take an event and leave it out of some of what it makes of it (invariant 11)."""

    def late(self) -> int:
        """How many it left out because they came too late. Raises as the methods of `Destination` do."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a replay of one partition begins: `accounts` and `high_watermarks` are those of that position."""

    accounts: Accounts
    high_watermarks: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Replayable(Protocol):
    """A destination whose position a person may set back.

    What it holds stays the same when an event is written again. What it gives away goes out again, under the same id.
    """

    redelivers: ClassVar[bool]
    """Whether a replay gives events away a second time: a person must agree to that."""

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """All of them or, after an error, some; each under a new epoch, so that who is still writing is fenced."""

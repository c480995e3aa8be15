"""Clean events for suites of destinations: a small stream, batches of it, and what a store must make of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.destinations.protocol import Claim, CleanBatch

START = datetime(2013, 1, 1, tzinfo=UTC)
TOPIC = "clean-a"

SIMPLE = CleanSchema(
    stream="flights",
    version=1,
    fields=(
        Field("id", Type.STRING, required=True),
        Field("at", Type.TIMESTAMP),
        Field("number", Type.INT32),
        Field("tail", Type.STRING, privacy=Privacy(PrivacyKind.ENCRYPT)),
    ),
    key=("id",),
    event_id="id",
    event_time="at",
)
"""The stream of the suite. Its protected field holds what looks like an envelope."""

Row = tuple[Any, ...]
Identity = tuple[str, int, int]
"""Raw topic id, raw partition, raw offset (invariant 3)."""


@dataclass(frozen=True, slots=True)
class CleanEvent:
    """One clean event of SIMPLE, in partition 0; its clean offset is its place in a list."""

    id: str
    at: datetime | None
    number: int | None
    raw_offset: int
    raw_topic: str = "raw-a"

    @property
    def row(self) -> Row:
        """As it stands in a batch."""
        return (self.id, self.at, self.number, f"cw1.{self.id}")

    @property
    def identity(self) -> Identity:
        """As it stands in a stored row."""
        return (self.raw_topic, 0, self.raw_offset)


def some_events(seed: int, count: int, keys: int) -> list[CleanEvent]:
    """Events in raw order whose keys repeat and whose times go back and forth, equal ones among them."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    return [
        CleanEvent(f"k{rng.randrange(keys)}", START + timedelta(minutes=rng.randrange(count // 4)), i, raw_offset=i)
        for i in range(count)
    ]


def batch_of(
    events: Sequence[CleanEvent], claim: Claim, next_offset: int, *, rows: Sequence[Row] | None = None, **changes: Any
) -> CleanBatch:
    """A batch of `events` that ends before clean offset `next_offset`, the events being the last before it.

    `rows` are other rows than the events' own; their schema is `schema`, SIMPLE by default. `changes` are other
    attributes of the batch.
    """
    schema: CleanSchema = changes.pop("schema", SIMPLE)
    high_watermarks = dict(claim.high_watermarks)
    for event in events:
        high_watermarks[event.raw_topic] = max(event.raw_offset, high_watermarks.get(event.raw_topic, -1))
    held = [event.row for event in events] if rows is None else list(rows)
    whole = CleanBatch(
        topic_id=TOPIC,
        partition=0,
        next_offset=next_offset,
        epoch=claim.epoch,
        rows=held,
        values=[clean_json(row, schema) for row in held],
        offsets=range(next_offset - len(events), next_offset),
        raw_topics=[event.raw_topic for event in events],
        raw_offsets=[event.raw_offset for event in events],
        high_watermarks=high_watermarks,
    )
    return replace(whole, **changes)


def clean_json(row: Row, schema: CleanSchema) -> bytes:
    """A row as it is in the clean topic."""
    event = dict(zip((field.name for field in schema.fields), row, strict=True))
    return json.dumps(msgspec.to_builtins(event)).encode()  # msgspec's own writer refuses lone surrogates


def batches_of(events: Sequence[CleanEvent], claim: Claim, size: int) -> list[CleanBatch]:
    """`events` from the claim's offset on, in flushes of `size`, each with the high watermarks up to its end."""
    batches = []
    for start in range(claim.next_offset, len(events), size):
        end = min(start + size, len(events))
        batches.append(batch_of(events[start:end], claim, end))
        claim = replace(claim, high_watermarks=batches[-1].high_watermarks)
    return batches


def newest(events: Iterable[CleanEvent]) -> list[CleanEvent]:
    """The newest event of each key, by sorting: another way than the code's (invariant 4)."""
    ordered = sorted(events, key=lambda one: (one.at is not None, one.at or START, one.raw_offset))
    return list({event.id: event for event in ordered}.values())


def once(events: Iterable[CleanEvent]) -> list[CleanEvent]:
    """Each event once, in the order of the first."""
    first: dict[Identity, CleanEvent] = {}
    for event in events:
        first.setdefault(event.identity, event)
    return list(first.values())

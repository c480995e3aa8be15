"""What a raw event had around its value: the key and headers that its replay gets too."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clearwell.kafka import names
from clearwell.kafka.message_format import AnyHeader
from clearwell.kafka.names import raw_topic
from clearwell.kafka.range_reader import reader
from clearwell.records.cloudevents import Template
from clearwell.registry.dead_letters import RegisteredDeadLetter

GAP = 500
"""Offsets that are read and passed over rather than sought: about what one more fetch costs."""

_OURS = "clearwell_"


@dataclass(frozen=True, slots=True)
class KeyAndHeaders:
    """A record without its value."""

    key: bytes | None
    headers: Sequence[AnyHeader]


def originals(bootstrap: str, topic_id: str, letters: Sequence[RegisteredDeadLetter]) -> dict[int, KeyAndHeaders]:
    """By id: key and CloudEvents headers of its raw event, or made ones where retention has taken that.

    `letters` are of one stream, whose raw topic has `topic_id` now. Headers of our own are left out: they say what
    became of the record before, such as that a source refused it. Raises Retryable when Kafka does not answer.
    """
    read = [letter for letter in letters if letter.origin_topic_id == topic_id]
    known = asyncio.run(_read(bootstrap, read)) if read else {}
    return {letter.id: known.get((letter.raw_partition, letter.raw_offset)) or _generated(letter) for letter in letters}


def spans(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ranges [start, end) that cover the offsets, parted where more than GAP offsets are not wanted."""
    start = end = -1
    for offset in sorted(offsets):
        if start < 0:
            start = offset
        elif offset - end > GAP:
            yield start, end
            start = offset
        end = offset + 1
    if start >= 0:
        yield start, end


async def _read(bootstrap: str, letters: Sequence[RegisteredDeadLetter]) -> dict[tuple[int, int], KeyAndHeaders]:
    offsets_by_partition: defaultdict[int, set[int]] = defaultdict(set)
    for letter in letters:
        offsets_by_partition[letter.raw_partition].add(letter.raw_offset)
    originals: dict[tuple[int, int], KeyAndHeaders] = {}
    topic = raw_topic(letters[0].stream)
    async with reader(bootstrap) as log:
        for partition, offsets in offsets_by_partition.items():
            for start, end in spans(offsets):
                async for records in log.records(topic, partition, start, end):
                    for record in records:
                        if record.offset in offsets:
                            kept = [pair for pair in record.headers if not pair[0].startswith(_OURS)]
                            originals[partition, record.offset] = KeyAndHeaders(record.key, kept)
    return originals


def _generated(letter: RegisteredDeadLetter) -> KeyAndHeaders:
    """The id is the event's identity in raw: the same at each replay, and nothing personal (invariant 9)."""
    template = Template(f"/{names.dead_topic(letter.stream)}", f"clearwell.{letter.stream}")
    return KeyAndHeaders(None, template.plain(letter.event_id, datetime.now(UTC)))

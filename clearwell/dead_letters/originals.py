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
from clearwell.registry.dead_letters import Letter

GAP = 500
"""Offsets that are read and passed over rather than sought: about what one more fetch costs."""

_OURS = "clearwell_"


@dataclass(frozen=True, slots=True)
class Around:
    """A record without its value."""

    key: bytes | None
    headers: Sequence[AnyHeader]


def originals(bootstrap: str, topic_id: str, letters: Sequence[Letter]) -> dict[int, Around]:
    """By letter: key and CloudEvents headers of its raw event, or made ones where retention has taken that.

    `letters` are of one stream, whose raw topic has `topic_id` now. Headers of our own are left out: they say what
    became of the record before, such as that a source refused it. Raises Retryable when Kafka does not answer.
    """
    read = [one for one in letters if one.raw_topic == topic_id]
    found = asyncio.run(_read(bootstrap, read)) if read else {}
    return {one.id: found.get((one.raw_partition, one.raw_offset)) or _made(one) for one in letters}


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


async def _read(bootstrap: str, letters: Sequence[Letter]) -> dict[tuple[int, int], Around]:
    wanted: defaultdict[int, set[int]] = defaultdict(set)
    for one in letters:
        wanted[one.raw_partition].add(one.raw_offset)
    found: dict[tuple[int, int], Around] = {}
    topic = raw_topic(letters[0].stream)
    async with reader(bootstrap) as log:
        for partition, offsets in wanted.items():
            for start, end in spans(offsets):
                async for records in log.records(topic, partition, start, end):
                    for record in records:
                        if record.offset in offsets:
                            kept = [pair for pair in record.headers if not pair[0].startswith(_OURS)]
                            found[partition, record.offset] = Around(record.key, kept)
    return found


def _made(letter: Letter) -> Around:
    """The id is the event's identity in raw: the same at each replay, and nothing personal (invariant 9)."""
    template = Template(f"/{names.dead_topic(letter.stream)}", f"clearwell.{letter.stream}")
    place = f"{letter.raw_topic}/{letter.raw_partition}/{letter.raw_offset}"
    return Around(None, template.plain(place, datetime.now(UTC)))

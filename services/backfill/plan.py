"""What a backfill will read, fixed before it reads anything, so that it can be resumed to the same result."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from clearwell.contract.load import find_file, load
from clearwell.kafka import admin
from clearwell.kafka.names import raw_topic
from clearwell.settings import Settings
from services.backfill.bound import Bound

CHUNK = 50_000
"""Raw offsets of one Parquet file, and what a crash costs at most."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raw offsets [first, end) of a partition."""

    partition: int
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for: a stream, a contract version, and a range; None is the oldest and the newest event.

    `contract` is the SHA-256 of the contract's file.
    """

    stream: str
    version: int
    contract: str
    start: Bound | None
    end: Bound | None
    chunk: int


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request in offsets of one incarnation of the raw topic (invariant 3).

    `gone` maps a partition to the offsets before its range that retention has removed. Where the request begins at a
    moment, only some of them may have belonged to it. `made` is Unix seconds.
    """

    request: Request
    topic: str
    topic_id: str
    ranges: tuple[Range, ...]
    gone: dict[int, int]
    made: float

    @property
    def run(self) -> str:
        """The id of the run: the same request on the same history is the same run."""
        what = msgspec.json.encode((self.request.contract, self.request.chunk, self.topic_id, self.ranges))
        return hashlib.sha256(what).hexdigest()[:12]

    @property
    def events(self) -> int:
        """Offsets to read."""
        return sum(len(one) for one in self.ranges)

    def chunks(self) -> Iterator[Range]:
        """The files to write, in the order they are written."""
        for one in self.ranges:
            for first in range(one.first, one.end, self.request.chunk):
                yield Range(one.partition, first, min(first + self.request.chunk, one.end))


def make_request(
    where: Settings, stream: str, version: int | None, start: Bound | None, end: Bound | None, chunk: int = CHUNK
) -> Request:
    """The request as it depends on the contract's file. Raises ConfigError or ContractError."""
    file = find_file(where.schemas, stream, version)
    return Request(stream, load(file).version, hashlib.sha256(file.read_bytes()).hexdigest(), start, end, chunk)


def make_plan(where: Settings, request: Request) -> Plan:
    """Look the range up in Kafka, as it is now. Raises Retryable when Kafka or the topic is not there."""
    topic = raw_topic(request.stream)
    topic_id = admin.topic_id(where.kafka, topic)
    begins, ends = admin.begin_offsets(where.kafka, topic), admin.end_offsets(where.kafka, topic)
    firsts = _offsets(where, topic, request.start, begins, ends)
    lasts = _offsets(where, topic, request.end, ends, ends)
    wanted = dict.fromkeys(begins, request.start.offset or 0 if request.start and request.start.time is None else 0)
    ranges, gone = [], {}
    for partition, begin in sorted(begins.items()):
        first, end = max(firsts[partition], begin), min(lasts[partition], ends[partition])
        if first == begin > wanted[partition]:
            gone[partition] = begin - wanted[partition]
        if first < end:
            ranges.append(Range(partition, first, end))
    return Plan(request, topic, topic_id, tuple(ranges), gone, time.time())


def _offsets(
    where: Settings, topic: str, bound: Bound | None, default: dict[int, int], ends: dict[int, int]
) -> dict[int, int]:
    if bound is None:
        return default
    if bound.time is None:
        return dict.fromkeys(ends, bound.offset or 0)
    found = admin.offsets_at(where.kafka, topic, bound.time)
    return {partition: ends[partition] if offset is None else offset for partition, offset in found.items()}


def file_name(chunk: Range) -> str:
    """The Parquet file of a chunk: partition, first and last raw offset."""
    return f"part-{chunk.partition:04d}-{chunk.first:012d}-{chunk.end - 1:012d}.parquet"


def run_folder(into: Path, plan: Plan) -> Path:
    """Where the finished run is found."""
    return into / f"v={plan.request.version}" / f"run={plan.run}"


def work_folder(into: Path, plan: Plan) -> Path:
    """Where the run is while it is unfinished; readers of Parquet pass over names with a dot."""
    return into / f"v={plan.request.version}" / f".run={plan.run}.unfinished"

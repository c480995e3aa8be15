"""What a backfill will read, fixed before it reads anything, so that it can be resumed to the same result."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from clearwell.contract.load import find_file, load
from clearwell.kafka.log_client import LogClient
from clearwell.kafka.names import raw_topic
from clearwell.settings import Settings

CHUNK = 50_000
"""Raw offsets of one Parquet file, and what a crash costs at most."""

PLAN = "_plan.json"
"""The plan in the folder of an unfinished run."""


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One end of a range. Exactly one is set: `offset` (of every partition), or `time` (Unix milliseconds)."""

    offset: int | None = None
    time: int | None = None

    def __str__(self) -> str:
        if self.time is None:
            return f"offset {self.offset}"
        return datetime.fromtimestamp(self.time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class OffsetRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raw offsets [first, end) of a partition."""

    partition: int
    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for: a stream, a contract version, and a range; None is the oldest and the newest event.

    `contract` is the SHA-256 of the contract's file.
    """

    stream: str
    version: int
    contract: str
    start: Bound | None
    end: Bound | None
    chunk: int


class Workspace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a worker finds the data folder, contracts and keys, and writes: paths alone, no secret (invariant 10)."""

    home: str
    schemas: str
    keys: str
    into: str

    @classmethod
    def of(cls, settings: Settings, into: Path) -> Self:
        """As the settings of this process have it."""
        return cls(str(settings.home), str(settings.schemas), str(settings.keys), str(into.absolute()))


class ReplayPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request in offsets of one incarnation of the raw topic (invariant 3): all that a worker needs.

    `gone` maps a partition to the offsets before its range that retention has removed. Where the request begins at a
    moment, only some of them may have belonged to it. `made` is Unix seconds.
    """

    request: ReplayRequest
    topic: str
    topic_id: str
    ranges: tuple[OffsetRange, ...]
    gone: dict[int, int]
    made: float
    workspace: Workspace

    @property
    def run(self) -> str:
        """The id of the run: the same request on the same history is the same run."""
        what = msgspec.json.encode((self.request.contract, self.request.chunk, self.topic_id, self.ranges))
        return hashlib.sha256(what).hexdigest()[:12]

    @property
    def events(self) -> int:
        """Offsets to read."""
        return sum(map(len, self.ranges))

    @property
    def run_folder(self) -> Path:
        """The folder of the finished run."""
        return Path(self.workspace.into) / f"v={self.request.version}" / f"run={self.run}"

    @property
    def work_folder(self) -> Path:
        """The folder of the run while it is unfinished; readers of Parquet pass over names with a dot."""
        return self.run_folder.with_name(f".run={self.run}.unfinished")

    def chunks(self) -> Iterator[OffsetRange]:
        """The files to write, in the order they are written."""
        for whole in self.ranges:
            for first in range(whole.first, whole.end, self.request.chunk):
                yield OffsetRange(whole.partition, first, min(first + self.request.chunk, whole.end))


def make_request(
    settings: Settings, stream: str, version: int | None, start: Bound | None, end: Bound | None, chunk: int = CHUNK
) -> ReplayRequest:
    """The request as it depends on the contract's file. Raises ConfigError or ContractError."""
    file = find_file(settings.schemas, stream, version)
    return ReplayRequest(stream, load(file).version, hashlib.sha256(file.read_bytes()).hexdigest(), start, end, chunk)


def choose_plan(client: LogClient, request: ReplayRequest, workspace: Workspace) -> ReplayPlan:
    """The plan of an unfinished run of the same request, which is resumed; else a new one. Raises as `make_plan`."""
    new = make_plan(client, request, workspace)
    for file in sorted(new.work_folder.parent.glob(f".run=*.unfinished/{PLAN}")):
        try:
            old = msgspec.json.decode(file.read_bytes(), type=ReplayPlan)
        except (OSError, msgspec.DecodeError):
            continue
        if old.request == request and old.topic_id == new.topic_id:
            return msgspec.structs.replace(old, workspace=new.workspace)
    return new


def make_plan(client: LogClient, request: ReplayRequest, workspace: Workspace) -> ReplayPlan:
    """Look the range up in Kafka, as it is now. Raises Retryable when Kafka or the topic is not there."""
    topic = raw_topic(request.stream)
    topic_id = str(client.topic_now(topic))
    begins, ends = client.begin_offsets(topic), client.end_offsets(topic)
    firsts = _offsets(client, topic, request.start, begins, ends)
    lasts = _offsets(client, topic, request.end, ends, ends)
    requested = request.start.offset or 0 if request.start and request.start.time is None else 0
    ranges, gone = [], {}
    for partition, begin in sorted(begins.items()):
        first, end = max(firsts[partition], begin), min(lasts[partition], ends[partition])
        if first == begin > requested:
            gone[partition] = begin - requested
        if first < end:
            ranges.append(OffsetRange(partition, first, end))
    return ReplayPlan(request, topic, topic_id, tuple(ranges), gone, time.time(), workspace)


def _offsets(
    client: LogClient, topic: str, bound: Bound | None, default: dict[int, int], ends: dict[int, int]
) -> dict[int, int]:
    if bound is None:
        return default
    if bound.time is None:
        return dict.fromkeys(ends, bound.offset or 0)
    offsets = client.offsets_at(topic, bound.time)
    return {partition: ends[partition] if offset is None else offset for partition, offset in offsets.items()}


def file_name(chunk: OffsetRange) -> str:
    """The Parquet file of a chunk: partition, first and last raw offset."""
    return f"part-{chunk.partition:04d}-{chunk.first:012d}-{chunk.end - 1:012d}.parquet"

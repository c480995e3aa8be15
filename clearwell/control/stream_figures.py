"""What has gone through streams, and how far behind they are: from a few requests to Kafka for all streams together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kafka import TopicPartition

from clearwell.control.jobs import JobStatus
from clearwell.control.stream_parts import StreamParts
from clearwell.kafka import groups, names
from clearwell.kafka.topic_ends import ends_of
from clearwell.registry.jobs import JobKind, JobState

Number = TypeVar("Number", int, float)
Ends = Mapping[str, Mapping[int, int]]
Committed = Mapping[str, Mapping[TopicPartition, int]]


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """Events since the stream's topics are there; None where that is not known.

    `raw`, `clean` and `dead` are where the topics end, so that what was written twice, after a crash, counts twice.
    `dropped` is reckoned: what the cleaner has read, and is neither clean nor rejected. `unread`: not cleaned yet.
    """

    raw: int | None = None
    clean: int | None = None
    dropped: int | None = None
    dead: int | None = None
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind a stream is: its job that is furthest. None where that is not known."""

    events: int | None
    seconds: float | None


def figures_of(kafka: str, streams: Sequence[StreamParts], refused: Mapping[str, int]) -> dict[str, StreamFigures]:
    """By stream. `refused`: dead letters of destinations, by stream. Blocks. Raises Retryable."""
    cleaners = {names.cleaner_group(stream.name, version) for stream in streams for version in stream.versions[-1:]}
    committed = groups.committed_by(kafka, cleaners)  # before the ends: nothing is read that is not written yet
    ends = ends_of(kafka, [topic for stream in streams for topic in _topics(stream)])
    return {stream.name: _figures(stream, ends, committed, refused.get(stream.name, 0)) for stream in streams}


def lag_of(jobs: Sequence[JobStatus], unread: int | None) -> Lag:
    """The lag of a stream with these jobs; what its cleaner has not read is known without any worker.

    Where a part of it is unknown, what is known is told when it is no nothing: it is at least that much.
    """
    by_group: defaultdict[str, list[JobStatus]] = defaultdict(list)
    for job in jobs:
        by_group[job.name.partition("#")[0]].append(job)
    events: list[int | None] = [unread]
    seconds: list[float | None] = []
    for copies in by_group.values():
        runs = all(copy.worker is not None and copy.state is not JobState.PAUSED for copy in copies)
        lags = [copy.lag_events for copy in copies if copy.lag_events is not None]
        ages = [copy.lag_seconds for copy in copies if copy.lag_seconds is not None]
        if copies[0].kind != JobKind.CLEANER:
            events.append(sum(lags) if runs and len(lags) == len(copies) else None)
        seconds.append(max(ages) if runs and len(ages) == len(copies) else None)
    return Lag(_most(events), _most(seconds) if seconds else None)


def _most(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    most = max(known, default=None)
    return most if most or len(known) == len(values) else None


def _topics(stream: StreamParts) -> list[str]:
    clean = [names.clean_topic(stream.name, version) for version in stream.versions[-1:]]
    return [*clean, names.raw_topic(stream.name), names.dropped_topic(stream.name), names.dead_topic(stream.name)]


def _figures(stream: StreamParts, ends: Ends, committed: Committed, refused: int) -> StreamFigures:
    def total(topic: str) -> int | None:
        return sum(ends[topic].values()) if topic in ends else None

    raw_topic = names.raw_topic(stream.name)
    raw, dead = total(raw_topic), total(names.dead_topic(stream.name))
    if not stream.versions or raw is None:
        return StreamFigures(raw=raw, dead=dead, unread=raw)
    version = stream.versions[-1]
    clean = total(names.clean_topic(stream.name, version))
    read = sum(
        offset
        for partition, offset in committed.get(names.cleaner_group(stream.name, version), {}).items()
        if partition.topic == raw_topic
    )
    dropped = total(names.dropped_topic(stream.name))
    if dropped:
        reckoned = -1 if clean is None or dead is None else read - clean - (dead - refused)
        dropped = reckoned if reckoned >= 0 and stream.ever_published == {version} else None
    return StreamFigures(raw, clean, dropped, dead, max(raw - read, 0))

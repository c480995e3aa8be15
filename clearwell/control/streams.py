"""Streams as people and programs see them: what their topics hold, and how far those are who read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from clearwell.control.platform import Platform
from clearwell.control.stream_parts import StreamParts, all_streams, find_stream
from clearwell.control.stream_states import StreamState
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin, groups, names
from clearwell.kafka.topic_ends import ends_of
from clearwell.registry import subscriptions


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A stream, by its published contracts. `partitions` are those of its raw topic, None where it has no topics yet.

    `jobs` and `connectors`: how many it has.
    """

    name: str
    owner: str
    versions: Sequence[int]
    state: StreamState
    partitions: int | None
    jobs: int
    connectors: int


class TopicStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a topic holds: `offsets` that retention has not removed, all partitions together."""

    topic: str
    partitions: int
    offsets: int


class ReaderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer group of a topic: `read` offsets since the topic is there, `lag` still to be read, all in all."""

    group: str
    topic: str
    read: int
    lag: int


class StreamDetails(StreamSummary, frozen=True, kw_only=True):
    """What is known of a stream. A destination's position is in its store, and is none of the readers'."""

    topics: Sequence[TopicStatus]
    readers: Sequence[ReaderStatus]


def list_streams(platform: Platform) -> list[StreamSummary]:
    """All streams, by name. Blocks. Raises as `Platform.looking`, and Retryable when Kafka does not answer."""
    streams = all_streams(platform)
    partitions = ends_of(platform.settings.kafka, [names.raw_topic(stream.name) for stream in streams])
    return [_summary(stream, partitions) for stream in streams]


def show_stream(platform: Platform, name: str) -> StreamDetails:
    """One stream. Blocks. Raises ConfigError (code "no_such_stream") when there is none, and as `list_streams`."""
    stream = find_stream(platform, name)
    kafka = platform.settings.kafka
    topics = topics_of_stream(kafka, name)
    ends = ends_of(kafka, topics)
    return StreamDetails(
        **msgspec.structs.asdict(_summary(stream, ends)),
        topics=[_topic_status(kafka, topic, ends[topic]) for topic in topics],
        readers=[
            _reader_status(kafka, group, topic) for group, topic in readers_of(platform, stream) if topic in topics
        ],
    )


def topics_of(platform: Platform, stream: str) -> dict[str, int]:
    """Topic of the stream → its partitions: clean of every version, dropped, dead, and raw, the last one. Blocks.

    Raises ConfigError when there is no raw topic, Retryable when Kafka does not answer.
    """
    kafka = platform.settings.kafka
    topics = topics_of_stream(kafka, stream)
    raw = names.raw_topic(stream)
    if raw not in topics:
        raise ConfigError(
            f"The stream {stream} has no topic {raw}.", code="no_topics", hint=Hint("streams.make_topics", stream)
        )
    return {topic: admin.partition_count(kafka, topic) for topic in topics}


def topics_of_stream(kafka: str, stream: str) -> list[str]:
    """Those that there are: clean of every version, dropped, dead, raw. Blocks. Raises Retryable."""
    topics = set(admin.ask(kafka, "listing topics", lambda client: client.list_topics()))
    is_clean = re.compile(re.escape(names.clean_topic(stream, 0)[:-1]) + r"[0-9]+")
    clean = sorted(topic for topic in topics if is_clean.fullmatch(topic))
    beside = (names.dropped_topic(stream), names.dead_topic(stream), names.raw_topic(stream))
    return clean + [topic for topic in beside if topic in topics]


def readers_of(platform: Platform, stream: StreamParts) -> Iterator[tuple[str, str]]:
    """Consumer groups, each with the topic that it reads."""
    raw, contract = names.raw_topic(stream.name), stream.contract
    yield from ((names.cleaner_group(stream.name, version), raw) for version in stream.versions)
    for route in contract.archives if contract is not None else ():
        yield names.archive_group(stream.name, route.to), raw
    yield names.dead_letters_group(stream.name), names.dead_topic(stream.name)
    with platform.looking() as session:
        known = subscriptions.list_subscriptions(session)
    for model in known:
        if model.stream == stream.name:
            yield names.model_group(model.name), names.clean_topic(stream.name, model.version)


def _summary(stream: StreamParts, ends: Mapping[str, Mapping[int, int]]) -> StreamSummary:
    raw = names.raw_topic(stream.name)
    return StreamSummary(
        name=stream.name,
        owner=stream.owner,
        versions=stream.versions,
        state=stream.state,
        partitions=len(ends[raw]) if raw in ends else None,
        jobs=len(stream.jobs),
        connectors=len(stream.connectors),
    )


def _topic_status(kafka: str, topic: str, ends: Mapping[int, int]) -> TopicStatus:
    first = admin.begin_offsets(kafka, topic)
    return TopicStatus(topic=topic, partitions=len(ends), offsets=sum(ends.values()) - sum(first.values()))


def _reader_status(kafka: str, group: str, topic: str) -> ReaderStatus:
    positions = groups.positions(kafka, group, topic)
    return ReaderStatus(
        group=group,
        topic=topic,
        read=sum(position.next_offset or 0 for position in positions),
        lag=sum(position.lag for position in positions),
    )

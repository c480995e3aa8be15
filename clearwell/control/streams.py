"""Streams as people and programs see them: what their topics hold, and how far those are who read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from clearwell.contract.load import all_contracts
from clearwell.contract.load import find as find_contract
from clearwell.contract.model import Contract
from clearwell.control.platform import Platform
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import admin, groups, names
from clearwell.registry import subscriptions


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A stream, by its contracts. `partitions` are those of its raw topic, None where it has no topics yet."""

    name: str
    owner: str
    versions: Sequence[int]
    partitions: int | None


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
    """All streams that have a contract, by name. Blocks. Raises ConfigError, Retryable when Kafka does not answer."""
    topics = _topics(platform.settings.kafka)
    contracts: dict[str, list[Contract]] = {}
    for contract in all_contracts(platform.settings.schemas):
        contracts.setdefault(contract.stream, []).append(contract)
    return [_summary(platform, versions, topics) for versions in contracts.values()]


def show_stream(platform: Platform, stream: str) -> StreamDetails:
    """One stream. Blocks. Raises ConfigError, with the nearest name, when it has no contract, and as `list_streams`."""
    find_contract(platform.settings.schemas, stream)
    versions = [contract for contract in all_contracts(platform.settings.schemas) if contract.stream == stream]
    kafka = platform.settings.kafka
    topics = _topics(kafka)
    summary = _summary(platform, versions, topics)
    return StreamDetails(
        **msgspec.structs.asdict(summary),
        topics=[_topic_status(kafka, topic) for topic in _topics_of(topics, stream)],
        readers=[
            _reader_status(kafka, group, topic) for group, topic in _readers(platform, versions) if topic in topics
        ],
    )


def topics_of(platform: Platform, stream: str) -> dict[str, int]:
    """Topic of the stream → its partitions: clean of every version, dropped, dead, and raw, the last one. Blocks.

    Raises ConfigError when there is no raw topic, Retryable when Kafka does not answer.
    """
    kafka = platform.settings.kafka
    topics = _topics_of(_topics(kafka), stream)
    raw = names.raw_topic(stream)
    if raw not in topics:
        raise ConfigError(
            f"The stream {stream} has no topic {raw}.", code="no_topics", hint=Hint("streams.make_topics", stream)
        )
    return {topic: admin.partition_count(kafka, topic) for topic in topics}


def _topics(kafka: str) -> set[str]:
    return set(admin.ask(kafka, "listing topics", lambda client: client.list_topics()))


def _topics_of(topics: set[str], stream: str) -> list[str]:
    is_clean = re.compile(re.escape(names.clean_topic(stream, 0)[:-1]) + r"[0-9]+")
    clean = sorted(topic for topic in topics if is_clean.fullmatch(topic))
    beside = (names.dropped_topic(stream), names.dead_topic(stream), names.raw_topic(stream))
    return clean + [topic for topic in beside if topic in topics]


def _summary(platform: Platform, versions: Sequence[Contract], topics: set[str]) -> StreamSummary:
    stream = versions[-1].stream
    raw = names.raw_topic(stream)
    return StreamSummary(
        name=stream,
        owner=versions[-1].owner,
        versions=[contract.version for contract in versions],
        partitions=admin.partition_count(platform.settings.kafka, raw) if raw in topics else None,
    )


def _topic_status(kafka: str, topic: str) -> TopicStatus:
    first, ends = admin.begin_offsets(kafka, topic), admin.end_offsets(kafka, topic)
    return TopicStatus(topic=topic, partitions=len(ends), offsets=sum(ends.values()) - sum(first.values()))


def _readers(platform: Platform, versions: Sequence[Contract]) -> Iterator[tuple[str, str]]:
    """Consumer groups, each with the topic that it reads."""
    stream = versions[-1].stream
    raw = names.raw_topic(stream)
    yield from ((names.cleaner_group(stream, contract.version), raw) for contract in versions)
    yield from ((names.archive_group(stream, route.to), raw) for route in versions[-1].archives)
    yield names.dead_letters_group(stream), names.dead_topic(stream)
    with platform.looking() as session:
        known = subscriptions.list_subscriptions(session)
    for model in known:
        if model.stream == stream:
            yield names.model_group(model.name), names.clean_topic(stream, model.version)


def _reader_status(kafka: str, group: str, topic: str) -> ReaderStatus:
    positions = groups.positions(kafka, group, topic)
    return ReaderStatus(
        group=group,
        topic=topic,
        read=sum(position.next_offset or 0 for position in positions),
        lag=sum(position.lag for position in positions),
    )

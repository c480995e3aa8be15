"""Topics made on purpose, their identity, and a producer that says what Kafka did with every record."""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from clearwell.control.platform import Platform
from clearwell.control.streams import topics_of
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.kafka import admin
from clearwell.kafka.clients import connect
from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.names import clean_topic, dead_topic, dropped_topic, raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.kafka.topics import OUT_LIMIT, RAW_LIMIT
from clearwell.settings import Settings
from clearwell.source import EVENT_LIMIT
from tests.support.kafka_login import login

HEADERS = encode_headers([("ce_id", b"x")])


@pytest.fixture
def client(stack: Settings) -> Iterator[KafkaAdminClient]:
    """Kafka's admin client, to look from outside."""
    made = KafkaAdminClient(**login(stack.kafka))
    yield made
    made.close()


@pytest.fixture
def stream(stack: Settings, unique: Callable[[str], str]) -> Iterator[str]:
    """A stream's name; its topics are deleted afterwards."""
    name = unique("topics")
    yield name
    admin.delete_topics(stack.kafka, [raw_topic(name), clean_topic(name, 1), dead_topic(name), dropped_topic(name)])


@pytest.fixture
def producer(stack: Settings) -> Iterator[EventProducer]:
    """A connected producer."""
    made = EventProducer(stack.kafka, "test")
    yield made
    made.close()


def record(value: bytes, key: bytes | None = b"k") -> Record:
    """A record of one key."""
    return Record(key, value, HEADERS, key or b"place")


def test_the_four_topics_are_made_as_planned_and_again_is_harmless(
    stack: Settings, stream: str, client: KafkaAdminClient
) -> None:
    made = admin.ensure_topics(stack.kafka, stream, 1, partitions=3)
    assert list(made) == [raw_topic(stream), clean_topic(stream, 1), dead_topic(stream), dropped_topic(stream)]
    assert admin.ensure_topics(stack.kafka, stream, 1, partitions=7) == made
    assert [admin.partition_count(stack.kafka, topic) for topic in made] == [3, 3, 3, 3]
    found = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in made], "all")["topic"]
    settings = {topic: {name: entry["value"] for name, entry in found[topic].items()} for topic in made}
    for topic, days, limit in zip(made, (7, 30, 90, 30), (RAW_LIMIT, OUT_LIMIT, OUT_LIMIT, OUT_LIMIT), strict=True):
        assert settings[topic]["cleanup.policy"] == "delete"
        assert settings[topic]["retention.ms"] == str(days * 86_400_000)
        assert settings[topic]["max.message.bytes"] == str(limit)
        assert settings[topic]["message.timestamp.type"] == "LogAppendTime"


def test_a_topic_with_other_partitions_or_compaction_is_refused(
    stack: Settings, stream: str, client: KafkaAdminClient
) -> None:
    client.create_topics({clean_topic(stream, 1): {"num_partitions": 2}}, wait_for_metadata=True)
    with pytest.raises(ConfigError, match=f"{clean_topic(stream, 1)} has 2"):
        admin.ensure_topics(stack.kafka, stream, 1, partitions=3)
    admin.delete_topics(stack.kafka, [clean_topic(stream, 1)])
    _gone(stack, clean_topic(stream, 1))
    settings = {"num_partitions": 3, "configs": {"cleanup.policy": "compact", "max.message.bytes": "1000"}}
    client.create_topics({clean_topic(stream, 1): settings}, wait_for_metadata=True)
    with pytest.raises(ConfigError, match=r"compacted.*delete.*too small records"):
        admin.ensure_topics(stack.kafka, stream, 1)


def test_a_stream_is_widened_with_every_version_of_it_and_raw_last(
    stack: Settings, client: KafkaAdminClient, stream: str, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for version in (1, 2):
        admin.ensure_topics(stack.kafka, stream, version, partitions=2)
    control = Platform(stack)
    topics = [
        clean_topic(stream, 1),
        clean_topic(stream, 2),
        dropped_topic(stream),
        dead_topic(stream),
        raw_topic(stream),
    ]
    assert list(topics_of(control, stream).items()) == [(topic, 2) for topic in topics]
    client.create_partitions({raw_topic(stream): 3})  # by someone who knows nothing of the others
    with pytest.raises(ConfigError, match=f"`clearwell stream partitions {stream} 3`"):
        admin.require_topics(stack.kafka, stream, 1)

    assert run("stream", "partitions", stream, "3", "--dry-run") == 0
    assert list(topics_of(control, stream).values()) == [2, 2, 2, 2, 3]
    assert run("stream", "partitions", stream, "3") == 0
    assert "would" not in capsys.readouterr().out.splitlines()[-1]
    assert set(topics_of(control, stream).values()) == {3}
    assert run("stream", "partitions", stream, "3") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run("stream", "partitions", stream, "2") == 2
    assert "Kafka takes none away: say 3 or more" in capsys.readouterr().err
    assert admin.require_topics(stack.kafka, stream, 2).keys() == set(topics) - {clean_topic(stream, 1)}
    admin.delete_topics(stack.kafka, [clean_topic(stream, 2)])


def test_a_missing_topic_and_too_few_brokers_are_told(stack: Settings, stream: str) -> None:
    with pytest.raises(ConfigError, match=f"{raw_topic(stream)}.* does not exist"):
        admin.require_topics(stack.kafka, stream, 1)
    with pytest.raises(Retryable, match="does not exist"):
        admin.topic_id(stack.kafka, raw_topic(stream))
    with pytest.raises(ConfigError, match="fewer brokers"):
        admin.ensure_topics(stack.kafka, stream, 1, replication=3)


def test_clients_that_came_and_went_leave_no_socket(stack: Settings, stream: str) -> None:
    admin.ensure_topics(stack.kafka, stream, 1)
    admin.close()
    gc.collect()  # what earlier tests left behind
    before = _sockets()
    for _ in range(3):
        made = connect(KafkaProducer, stack.kafka)
        made.send(raw_topic(stream), value=b"{}").get(30)
        made.close()
        admin.end_offsets(stack.kafka, raw_topic(stream))
        admin.close()
        with pytest.raises(Retryable, match="did not answer"):
            connect(KafkaProducer, "127.0.0.1:1")
    assert _sockets() <= before


def _sockets() -> set[str]:
    found: set[str] = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add(str(descriptor.readlink()))
    return {name for name in found if name.startswith("socket:")}


def test_an_id_is_spelled_as_kafka_does_and_a_recreated_topic_has_another(
    stack: Settings, stream: str, client: KafkaAdminClient
) -> None:
    topic = raw_topic(stream)
    admin.ensure_topics(stack.kafka, stream, 1)
    first = admin.topic_id(stack.kafka, topic)
    assert len(first) == 22
    told = client.describe_topics([topic])[0]["topic_id"]
    assert uuid.UUID(bytes=base64.urlsafe_b64decode(first + "==")) == uuid.UUID(str(told))
    admin.delete_topics(stack.kafka, [topic])
    _gone(stack, topic)
    admin.ensure_topics(stack.kafka, stream, 1)
    assert admin.topic_id(stack.kafka, topic) != first


def test_offsets_at_both_ends_and_at_a_time(stack: Settings, stream: str, producer: EventProducer) -> None:
    admin.ensure_topics(stack.kafka, stream, 1, partitions=1)
    topic = raw_topic(stream)
    producer.send_batch(topic, [record(b"1"), record(b"2")])
    threading.Event().wait(0.05)
    between = int(time.time() * 1000)
    threading.Event().wait(0.05)
    producer.send_batch(topic, [record(b"3")])
    assert admin.begin_offsets(stack.kafka, topic) == {0: 0}
    assert admin.end_offsets(stack.kafka, topic) == {0: 3}
    assert admin.offsets_at(stack.kafka, topic, between) == {0: 2}
    assert admin.offsets_at(stack.kafka, topic, between + 3_600_000) == {0: None}


def test_no_kafka_is_one_sentence() -> None:
    for ask in (lambda: admin.topic_id("127.0.0.1:1", "t"), lambda: EventProducer("127.0.0.1:1", "c")):
        with pytest.raises(Retryable, match=r"Kafka at 127\.0\.0\.1:1 did not answer"):
            ask()
    for wrong in ("nonsense", "host:port", ":9092", "a:0"):
        with pytest.raises(ConfigError, match="no list of host:port"):
            admin.topic_id(wrong, "t")


def test_what_is_sent_arrives_once_in_order_with_keys_and_headers(
    stack: Settings, stream: str, producer: EventProducer
) -> None:
    admin.ensure_topics(stack.kafka, stream, 1, partitions=3)
    topic = raw_topic(stream)
    sent = [record(b"%d" % n * (n % 50), b"k%d" % (n % 20)) for n in range(5_000)]
    waiting = [producer.begin(topic, sent[start : start + 700]) for start in range(0, 5_000, 700)]
    for one in waiting:
        one.wait()
    consumer = KafkaConsumer(**login(stack.kafka), group_id=None, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, p) for p in range(3)])
    consumer.seek_to_beginning()
    found = []
    while len(found) < len(sent):
        found += [one for records in consumer.poll(1_000).values() for one in records]
    consumer.close()
    for key in {one.key for one in sent}:
        assert [one.value for one in found if one.key == key] == [one.value for one in sent if one.key == key]
    assert {tuple(one.headers) for one in found} == {(("ce_id", b"x"),)}


@pytest.mark.slow
def test_the_largest_event_fits_and_what_kafka_refuses_is_told(
    stack: Settings, stream: str, producer: EventProducer, client: KafkaAdminClient
) -> None:
    admin.ensure_topics(stack.kafka, stream, 1, partitions=1)
    topic = raw_topic(stream)
    largest = record(os.urandom(EVENT_LIMIT), os.urandom(512))
    producer.send_batch(topic, [record(b"a"), largest, record(b"b")])
    assert admin.end_offsets(stack.kafka, topic) == {0: 3}
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "10000"})])
    with pytest.raises(ConfigError, match="record too large") as refused:
        producer.send_batch(topic, [record(os.urandom(20_000))])
    assert "x" * 10 not in str(refused.value)
    with pytest.raises(ClearwellError):
        producer.send_batch("raw.not_there_" + stream, [record(b"a")])  # asks for 10 s, since it may be on its way


def test_closing_gives_up_what_is_not_acknowledged(stack: Settings, stream: str) -> None:
    admin.ensure_topics(stack.kafka, stream, 1, partitions=1)
    producer = EventProducer(stack.kafka, "test")
    producer.send_batch(raw_topic(stream), [record(b"a")])
    producer._kafka._accumulator.muted.add(TopicPartition(raw_topic(stream), 0))  # as while a request is in flight
    sending = producer.begin(raw_topic(stream), [record(b"b")])
    closing = threading.Timer(0.2, producer.close)
    closing.start()
    with pytest.raises(Retryable):
        sending.wait()
    closing.join()
    producer.close()
    with pytest.raises(Retryable):
        producer.begin(raw_topic(stream), [record(b"c")])


def _gone(stack: Settings, topic: str) -> None:
    """Wait until a deleted topic's name is free."""
    waiting = threading.Event()
    for _ in range(200):
        try:
            admin.topic_id(stack.kafka, topic)
        except Retryable:
            return
        waiting.wait(0.05)
    raise AssertionError(f"{topic} is still there")

"""`kafka` keeps every obligation of a destination that gives events away, on a real cluster; read by kafka-python."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from clearwell.contract.model import CleanSchema, Field
from clearwell.destinations.kafka.destination import KafkaTopicConfig, KafkaTopicDestination
from clearwell.destinations.protocol import RowReason
from clearwell.errors import ConfigError
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_cases import Opener, fresh, isolate
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of
from tests.support.kafka_login import login, login_options
from tests.support.secure_kafka import PASSWORD, USER, secure_kafka

pytestmark = pytest.mark.slow
LARGEST = 100_000


def make_topic(bootstrap: str, name: str, partitions: int) -> None:
    admin = KafkaAdminClient(**login(bootstrap))
    topic = NewTopic(name, partitions, 1, topic_configs={"max.message.bytes": str(LARGEST)})
    admin.create_topics([topic])
    admin.close()


def records_of(bootstrap: str, topic: str) -> list[Any]:
    """All of a topic's records."""
    consumer = KafkaConsumer(**login(bootstrap), enable_auto_commit=False, group_id=None)
    try:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(places)
        found: list[Any] = []
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(1_000).values():
                found += records
        return found
    finally:
        consumer.close()


@dataclass
class KafkaCase:
    """One topic of one partition."""

    bootstrap: str
    topic: str
    positions: str
    secrets: Sequence[str] = (PASSWORD, "canary-wrong")

    def destination(self, schema: CleanSchema, group: str) -> KafkaTopicDestination:
        return KafkaTopicDestination(
            KafkaTopicConfig(**login_options(self.bootstrap)), schema, self.topic, self.positions, group
        )

    def rows(self) -> list[dict[str, Any]]:
        found = []
        for record in records_of(self.bootstrap, self.topic):
            topic, partition, offset = dict(record.headers)["ce_id"].decode().split("/")
            origin = {"_raw_topic": topic, "_raw_partition": int(partition), "_raw_offset": int(offset)}
            found.append(json.loads(record.value) | origin)
        return found

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        return {"an event that is too large": lambda row: (*row[:3], os.urandom(3 * LARGEST).hex())}

    def broken(self) -> Mapping[str, Callable[[], KafkaTopicDestination]]:
        def at(topic: str = self.topic, **changes: Any) -> Callable[[], KafkaTopicDestination]:
            config = KafkaTopicConfig(**(login_options(self.bootstrap) | changes))
            return lambda: KafkaTopicDestination(config, SIMPLE, topic, self.positions, "broken")

        return {
            "no address": at(bootstrap="canary-wrong"),
            "nobody there": at(bootstrap="127.0.0.1:1"),
            "no such topic": at("nothing"),
            "a link-local address": at(bootstrap="169.254.169.254:9092"),
            "no password": at(username="me", password=None),
            "another password": at(password="canary-wrong"),
            "no authorities": at(security="ssl", ca="/nowhere/ca.pem"),
            "no TLS there": at(security="sasl_ssl", username=USER, password="canary-wrong"),
        }


class TestKafka(DestinationSuite):
    """With a password, without TLS."""

    cannot: ClassVar[Mapping[str, str]] = {
        "test_other_type": "a topic has no types that Clearwell knows of",
        "test_other_key": "a topic gives every event away, whatever its key is",
    }

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> KafkaCase:
        topic = unique("given")
        make_topic(stack.kafka, topic, 1)
        return KafkaCase(stack.kafka, topic, stack.postgres)

    def narrowed(self, field: Field, value: Any) -> Any:
        """As JSON has it."""
        return json.loads(msgspec.json.encode(value))

    def test_a_record(self, case: KafkaCase, opened: Opener) -> None:
        """A CloudEvent in binary mode, whose value is the clean event untouched."""
        destination = opened()
        batch = batch_of([CleanEvent("a", START, 1, raw_offset=7)], destination.claim(TOPIC, 0, 1), 1)
        destination.write(batch)
        [record] = records_of(case.bootstrap, case.topic)
        assert (record.key, record.value) == (b"a", batch.values[0])
        assert dict(record.headers) == {
            "ce_specversion": b"1.0", "ce_source": b"/streams/flights", "ce_type": b"clearwell.flights",
            "ce_dataschema": b"flights/v1", "ce_id": b"raw-a/0/7", "content-type": b"application/json",
            "clearwell_topic": b"raw-a", "clearwell_offset": b"7",
        }  # fmt: skip

    def test_one_key_one_partition(self, case: KafkaCase, unique: Callable[[str], str]) -> None:
        """Also where the key has several fields: a JSON array."""
        wide = replace(case, topic=unique("wide"))
        make_topic(wide.bootstrap, wide.topic, 5)
        destination = wide.destination(replace(SIMPLE, key=("id", "number")), fresh("wide"))
        destination.open()
        self.deliver(destination, [CleanEvent(f"k{n % 7}", START, n % 2, raw_offset=n) for n in range(140)])
        destination.close()
        places: dict[bytes, set[int]] = {}
        for record in records_of(wide.bootstrap, wide.topic):
            places.setdefault(record.key, set()).add(record.partition)
        assert all(len(partitions) == 1 for partitions in places.values())
        assert b'["k3",1]' in places and len(places) == 14 and len(set.union(*places.values())) > 1

    def test_too_large_is_told_so(self, case: KafkaCase, opened: Opener) -> None:
        destination = opened()
        event = CleanEvent("a", START, 1, raw_offset=0)
        rows = [case.poisons["an event that is too large"](event.row)]
        batch = batch_of([event], destination.claim(TOPIC, 0, 1), 1, rows=rows)
        assert [error.reason for _, error in isolate(destination, batch)] == [RowReason.TOO_LARGE]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address with TLS and passwords, and the authority's file."""
    with secure_kafka(tmp_path_factory.mktemp("secure") / "home") as one:
        yield one.addresses["sasl_ssl"], one.ca


def test_tls_and_password(secure: tuple[str, Path], stack: Settings) -> None:
    """The right ones get in; a wrong password, or an authority that is not known, is told."""
    address, ca = secure
    right = KafkaTopicConfig(bootstrap=address, security="sasl_ssl", ca=str(ca), username=USER, password=PASSWORD)
    for config in (msgspec.structs.replace(right, password="canary-wrong"), msgspec.structs.replace(right, ca=None)):
        with pytest.raises(ConfigError) as told:
            KafkaTopicDestination(config, SIMPLE, "given", stack.postgres, "wrong").open()
        assert "canary-wrong" not in str(told.value)
    with pytest.raises(ConfigError, match="has no topic given"):
        KafkaTopicDestination(right, SIMPLE, "given", stack.postgres, "right").open()

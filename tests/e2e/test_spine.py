"""source topic → cleaner → clean topic → Postgres and MongoDB, with real processes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg
import pytest
from kafka import KafkaConsumer, TopicPartition

from clearwell.kafka.names import clean_topic, dead_topic, dropped_topic, raw_topic
from clearwell.privacy.key_file import LocalKeyring
from clearwell.registry import Registry, connectors
from tests.support.kafka_login import login
from tests.support.platform import PARTITIONS, Platform, numbered, until
from tests.support.rows import expected, in_mongo, in_postgres
from tests.support.transactions import KafkaTransaction

pytestmark = pytest.mark.slow


def records(platform: Platform, topic: str) -> list[Any]:
    """Everything a topic holds."""
    consumer = KafkaConsumer(**login(platform.settings.kafka), auto_offset_reset="earliest")
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    found: list[Any] = []
    while any(consumer.position(place) < ends[place] for place in places):
        found += [record for some in consumer.poll(500).values() for record in some]
    consumer.close()
    return found


def test_every_event_arrives_in_both_stores_as_the_pipeline_made_it(platform: Platform) -> None:
    values = list(numbered(3_000))
    platform.put(values[:1_000])
    for partition in range(PARTITIONS):
        foreign = KafkaTransaction(platform.settings.kafka, f"{platform.stream}-{partition}")
        foreign.produce(raw_topic(platform.stream), partition, [*numbered(10, start=9_000)])
        foreign.abort()  # what it had written is no event anywhere
    platform.put(values[1_000:])
    platform.put(values[:50])  # repeats of the source, dropped by `deduplicate`
    platform.start("cleaner")
    platform.start("deliverer", "--destination", "postgres")
    platform.start("deliverer", "--destination", "mongo")
    found = platform.settle()
    assert found.balanced
    assert (found.total("raw"), found.total("clean"), found.total("dropped"), found.total("dead")) == (
        3050,
        3000,
        50,
        0,
    )
    assert {one.name: (one.delivered, one.row_count) for one in found.destinations} == {
        "postgres": (3000, 3000),
        "mongo": (3000, 3000),
    }
    want = expected(platform, values)
    assert in_postgres(platform) == want
    assert in_mongo(platform).keys() == want.keys()
    assert all(service.stop() == 0 for service in platform.services)


def test_a_protected_value_is_nowhere_in_the_clear(platform: Platform) -> None:
    secret = b"CANARY7"
    values = [value.replace(b"N00001", secret) for value in numbered(20)]
    values.append(values[1].replace(b'"year":2013', b'"year":"2013"').replace(b"e0000001", b"e9999999"))  # a dead one
    platform.put(values)
    platform.start("cleaner")
    platform.start("deliverer", "--destination", "postgres")
    platform.start("deliverer", "--destination", "mongo")
    found = platform.settle()
    assert (found.total("clean"), found.total("dead")) == (20, 1)
    for topic in (clean_topic(platform.stream, 1), dead_topic(platform.stream), dropped_topic(platform.stream)):
        for record in records(platform, topic):
            assert secret not in (record.value or b"") + (record.key or b"")
            assert not any(secret in value for _, value in record.headers)
    with psycopg.connect(platform.settings.postgres) as connection:
        table = connection.execute(f'SELECT t::text FROM "{platform.stream}" t').fetchall()
    assert len(table) == 20
    assert secret.decode() not in str(table)
    assert any(row["tailnum"] == secret.decode() for row in in_mongo(platform).values())  # it is there, sealed
    for service in platform.services:
        assert secret.decode() not in service.text()


@pytest.fixture
def registry(platform: Platform) -> Iterator[Registry]:
    with closing(Registry(platform.settings.postgres)) as registry:
        yield registry


def test_one_connector_that_sends_too_much_of_it_is_stopped_and_its_neighbours_flow(
    platform: Platform, registry: Registry
) -> None:
    contract = platform.contract_file.read_text()
    platform.contract_file.write_text(
        contract.replace("{rejected: 5000, of_last: 10000}", "{rejected: 5, of_last: 100}")
    )
    good, bad = f"good-{platform.stream}"[:60], f"bad-{platform.stream}"[:60]
    with registry.session() as session:
        for name in (good, bad):
            connectors.add(session, name, "webhook", platform.stream, {})

    def put(connector: str, values: Sequence[bytes]) -> None:
        headers = [("ce_source", f"/connectors/{connector}".encode())]
        platform.append(raw_topic(platform.stream), [(value, headers, 0) for value in values])

    cleaner = platform.start("cleaner")
    put(good, [*numbered(20), b"{", b"{"])
    put(bad, [b"{"] * 9)
    put(good, [*numbered(5, 20), b"{"])
    until(lambda: platform.balance().total("dead") == 12)
    assert platform.balance().total("clean") == 25
    assert cleaner.process.poll() is None
    with registry.session() as session:
        assert connectors.get(session, good).state is connectors.State.RUNNING
        stopped = connectors.get(session, bad)
    assert stopped.state is connectors.State.FAILING
    assert "more than 5 of the last 100 events were rejected" in (stopped.last_error or "")
    cleaner.kill()
    put(good, [b"{"] * 3)  # with the three before, its own are too many now, and those of the other are not its own
    platform.start("cleaner")
    until(lambda: platform.balance().total("dead") == 15)
    with registry.session() as session:
        assert connectors.get(session, good).state is connectors.State.FAILING
        for name in (good, bad):
            connectors.remove(session, name)


def test_a_missing_key_file_is_one_sentence_and_exit_code_2(platform: Platform) -> None:
    platform.settings.keys.unlink()
    cleaner = platform.start("cleaner")
    assert cleaner.ended() == 2
    assert "keys" in cleaner.text()
    assert "Traceback" not in cleaner.text()


def test_a_running_cleaner_seals_with_the_new_key_after_a_rotation(platform: Platform) -> None:
    topic = clean_topic(platform.stream, 1)
    ids = itertools.count()

    def sealed_with() -> set[bytes]:
        platform.put(numbered(20, start=20 * next(ids)))
        platform.alive()
        return {found for record in records(platform, topic) for found in re.findall(rb"cw1\.([\w-]+)\.", record.value)}

    platform.start("cleaner")
    until(lambda: sealed_with() == {b"local-1"}, every=0.5)
    LocalKeyring.rotate(platform.settings.keys)
    until(lambda: sealed_with() == {b"local-1", b"local-2"}, within=30, every=0.5)

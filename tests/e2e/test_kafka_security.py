"""Kafka over TLS and with passwords: every client of ours, against a real broker that takes nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.names import raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.kafka.range_reader import reader
from clearwell.local.kafka import check
from clearwell.settings import Settings
from tests.support.platform import PARTITIONS, Platform, numbered, until
from tests.support.secure_kafka import PASSWORD, USER, SecureKafka, certificate, secure_kafka

pytestmark = pytest.mark.slow

WAYS = [("ssl", ""), ("sasl_plaintext", "SCRAM-SHA-512"), ("sasl_plaintext", "PLAIN"), ("sasl_ssl", "SCRAM-SHA-512")]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("secure") / "home") as running:
        yield running


@pytest.fixture
def choose(secure: SecureKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Sets the environment for one way to be secure; gives the address."""

    def set_up(protocol: str, mechanism: str = "", *, password: str = PASSWORD, ca: Path = secure.ca) -> str:
        (tmp_path / "password").write_text(f"{password}\n")
        chosen = {
            "": secure.addresses[protocol],
            "_SECURITY": protocol,
            "_CA": str(ca),
            "_MECHANISM": mechanism,
            "_USER": "${env:TEST_KAFKA_USER}",
            "_PASSWORD": f"${{file:{tmp_path / 'password'}}}",
        }
        for name, value in chosen.items():
            if value:
                monkeypatch.setenv(f"CLEARWELL_KAFKA{name}", value)
        monkeypatch.setenv("TEST_KAFKA_USER", USER)
        return chosen[""]

    yield set_up
    admin.close()


@pytest.mark.parametrize(("protocol", "mechanism"), WAYS)
def test_events_go_from_a_collectors_producer_through_a_cleaner(
    choose: Callable[..., str],
    stack: Settings,
    unique: Callable[[str], str],
    tmp_path: Path,
    protocol: str,
    mechanism: str,
) -> None:
    address = choose(protocol, mechanism)
    where = Settings(address, stack.postgres, "mongodb://127.0.0.1:1/none", *[tmp_path] * 3)
    platform = Platform(where, tmp_path / "platform", unique("flights"))
    try:
        check(address)
        producer = EventProducer(address, "test")
        values = list(numbered(100))
        producer.send_batch(
            raw_topic(platform.stream), [Record(None, value, encode_headers([]), value[:13]) for value in values]
        )
        producer.close()
        assert sorted(asyncio.run(read(address, raw_topic(platform.stream)))) == values
        cleaner = platform.start("cleaner")
        until(lambda: platform.cleaned() == 100)
        assert cleaner.stop() == 0
        assert PASSWORD not in cleaner.text()
    finally:
        platform.close()


async def read(address: str, topic: str) -> list[bytes]:
    found: list[bytes] = []
    async with reader(address) as log:
        for partition in range(PARTITIONS):
            async for records in log.records(topic, partition, 0, 1_000):
                found += [record.value for record in records]
    return found


@pytest.mark.parametrize("protocol", ["sasl_plaintext", "sasl_ssl"])
def test_a_wrong_password_is_one_clear_sentence(choose: Callable[..., str], protocol: str) -> None:
    address = choose(protocol, password="another-canary")
    with pytest.raises(ConfigError, match="CLEARWELL_KAFKA_USER") as caught:
        admin.topic_id(address, "any")
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigError, match="CLEARWELL_KAFKA_USER"):
        EventProducer(address, "test")
    with pytest.raises(ConfigError, match="CLEARWELL_KAFKA_USER"):
        asyncio.run(read(address, "any"))


def test_a_mechanism_that_the_broker_does_not_take(choose: Callable[..., str]) -> None:
    address = choose("sasl_plaintext", "SCRAM-SHA-256")
    with pytest.raises(ConfigError, match="CLEARWELL_KAFKA_MECHANISM"):
        admin.topic_id(address, "any")


def test_a_certificate_that_is_not_trusted_is_one_clear_sentence(choose: Callable[..., str], tmp_path: Path) -> None:
    other, _ = certificate(tmp_path)
    address = choose("ssl", ca=other)
    with pytest.raises(ConfigError, match=r"can't agree on TLS \(.*certificate.*CLEARWELL_KAFKA_CA"):
        admin.topic_id(address, "any")


def test_the_password_is_read_anew_after_it_has_changed(choose: Callable[..., str]) -> None:
    address = choose("sasl_plaintext", password="old")
    with pytest.raises(ConfigError):
        check_topics(address)
    choose("sasl_plaintext")
    check_topics(address)


def check_topics(address: str) -> None:
    admin.delete_topics(address, ["none"])

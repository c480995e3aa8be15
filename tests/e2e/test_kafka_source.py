"""The kafka source on a real cluster: every record once from any position, and no gap goes unsaid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clearwell.egress import VARIABLE
from clearwell.errors import ConfigError, Retryable
from clearwell.settings import Settings
from clearwell.source import EVENT_LIMIT, Lag, Refusal, SourceEvent, stored_position
from connectors.kafka.source import KafkaConfig, KafkaPosition, KafkaSource
from tests.support.collecting import until
from tests.support.sources.kafka import KafkaCase, open_case


def read(config: dict[str, Any], after: KafkaPosition | None = None) -> list[tuple[list[SourceEvent], Any]]:
    """All batches, to the end."""

    async def collect() -> list[tuple[list[SourceEvent], Any]]:
        source = KafkaSource(msgspec.convert(config, KafkaConfig))
        async with aclosing(source.read(after)) as batches:  # type: ignore[type-var]
            return [batch async for batch in batches]

    return asyncio.run(collect())


def events(batches: list[tuple[list[SourceEvent], Any]]) -> list[SourceEvent]:
    """The events of all batches."""
    return [event for batch, _ in batches for event in batch]


@pytest.fixture
def topic(stack: Settings, tmp_path: Path, unique: Callable[[str], str]) -> Iterator[KafkaCase]:
    """A topic in the embedded Kafka."""
    case = open_case(stack, tmp_path, unique)
    yield case
    case.close()


def test_it_knows_how_far_behind_it_is(topic: KafkaCase) -> None:
    topic.fill(40)

    async def scene() -> None:
        source = KafkaSource(msgspec.convert(topic.config | {"follow": True}, KafkaConfig))
        assert source.lag() == Lag(), "nobody has asked the brokers"
        async with asyncio.timeout(60), aclosing(source.read(None)) as batches:  # type: ignore[type-var]
            while source.lag() != Lag(0, 0.0):
                await anext(batches)
            await asyncio.to_thread(topic.fill, 1_000)
            while not source.lag().events:  # noqa: ASYNC110 - a few batches of 100 are read ahead, and then no more
                await asyncio.sleep(0.02)
            assert 0 < (source.lag().events or 0) < 1_000 and source.lag().seconds is None
        await source.close()

    asyncio.run(scene())


def test_every_record_once_and_every_position_resumes(topic: KafkaCase) -> None:
    topic.fill(500)
    whole = read(topic.config)
    assert len(whole) >= 5
    found = events(whole)
    assert sorted(topic.number(event.data) for event in found) == list(range(500))
    assert len({event.id for event in found}) == 500
    for index, (_, position) in enumerate(whole):
        stored = stored_position(msgspec.to_builtins(position), KafkaPosition)
        rest = events(read(topic.config, stored))
        done = events(whole[: index + 1])
        assert sorted(done + rest, key=lambda event: event.id) == sorted(found, key=lambda event: event.id)
    topic.fill(3)
    assert sorted(topic.number(event.data) for event in events(read(topic.config, whole[-1][1]))) == [500, 501, 502]


def test_values_pass_untouched_and_tombstones_and_giants_are_refused(topic: KafkaCase) -> None:
    values = [b"{", b"\xff\xfe", b"", b'{"a":1e999}']
    for value in [*values, None, b"x" * (EVENT_LIMIT + 1)]:
        topic.put(value, key=b"k", partition=0, headers=[("ce_id", b"id \xff" if value == b"{" else b"")])
    topic.flush()
    found = events(read(topic.config | {"id_header": "ce_id"}))
    assert [event.data for event in found[:4]] == values
    assert found[0].id == "id \\xff"
    assert found[1].id.endswith("/0/1")
    assert (found[4].data, found[4].refused) == (b"", Refusal.TOMBSTONE)
    assert (found[5].refused, len(found)) == (Refusal.TOO_LARGE, 6)


@pytest.mark.slow
def test_following_sees_new_records_and_new_partitions_and_says_it_is_alive(
    topic: KafkaCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.source.HEARTBEAT_SECONDS", 1.5)
    topic.fill(4)

    async def follow() -> tuple[int, int]:
        source = KafkaSource(msgspec.convert(topic.config | {"follow": True}, KafkaConfig))
        seen, silent = 0, 0
        async with aclosing(source.read(None)) as batches:  # type: ignore[type-var]
            async for found, _ in batches:
                seen += len(found)
                silent += not found
                if silent == 1 and not found:
                    await asyncio.to_thread(topic.add_partitions, 3)
                    await asyncio.to_thread(until, lambda: put(topic, partition=2))
                    await asyncio.to_thread(topic.flush)
                if seen == 5:
                    break
        return seen, silent

    seen, silent = asyncio.run(asyncio.wait_for(follow(), 60))
    assert (seen, silent >= 1) == (5, True)


def put(topic: KafkaCase, partition: int) -> bool:
    """Append a record as soon as the producer knows the partition."""
    try:
        topic.put(b'{"n":9}', partition=partition)
    except ValueError:
        return False
    return True


def test_latest_begins_at_the_end(topic: KafkaCase) -> None:
    topic.fill(4)
    assert events(read(topic.config | {"start": "latest"})) == []
    assert len(events(read(topic.config))) == 4


def test_records_that_are_gone_are_told(topic: KafkaCase) -> None:
    topic.fill(400)
    first = read(topic.config)[0][1]
    topic.cut(0, 190)
    topic.cut(1, 190)
    with pytest.raises(ConfigError, match=r"are gone \(retention\) before they were read"):
        read(topic.config, first)
    with pytest.raises(ConfigError, match="ends at 200, before offset 999"):
        read(topic.config, KafkaPosition(topic_id=first.topic_id, offsets=[999, 200]))
    with pytest.raises(ConfigError, match="fewer partitions"):
        read(topic.config, KafkaPosition(topic_id=first.topic_id, offsets=[199, 199, 0]))


def test_a_topic_that_was_made_again_is_told(topic: KafkaCase) -> None:
    topic.fill(10)
    last = read(topic.config)[-1][1]
    topic.delete()

    def made() -> bool:
        try:
            topic.make()
        except Exception:  # deletion is under way until the name is free again
            return False
        return True

    until(made)
    with pytest.raises(ConfigError, match="deleted and made again"):
        read(topic.config, last)


@pytest.mark.slow
def test_what_cannot_be_reached_is_one_sentence(topic: KafkaCase, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(**options: Any) -> None:
        KafkaSource(msgspec.convert(topic.config | options, KafkaConfig)).check()

    check()
    with pytest.raises(ConfigError, match=r"has no topic nowhere"):
        check(topic="nowhere")
    with pytest.raises(Retryable, match="did not answer"):
        check(bootstrap="127.0.0.1:1")
    with pytest.raises(ConfigError, match="no list of host:port"):
        check(bootstrap="somewhere")
    with pytest.raises(ConfigError, match="needs `username` and `password`"):
        check(security="sasl_plaintext", username=None)
    with pytest.raises(ConfigError, match="needs `username` and `password`"):
        check(security="sasl_plaintext", password=None)
    with pytest.raises(ConfigError, match="holds no certificates"):
        check(security="ssl", ca=__file__)
    with pytest.raises((Retryable, ConfigError)) as told:
        check(security="sasl_plaintext", username="u", password="canary-secret")
    assert "canary-secret" not in f"{told.value}"
    monkeypatch.setenv(VARIABLE, "10.0.0.0/8")
    with pytest.raises(ConfigError, match="may not be reached"):
        check()


def test_discover_guesses_from_the_last_records(topic: KafkaCase) -> None:
    topic.fill(500)
    topic.put(b"not json", partition=0)
    topic.flush()
    (stream,) = KafkaSource(msgspec.convert(topic.config, KafkaConfig)).discover()
    assert stream.fields == {"id": "string", "at": "string", "n": "int64"}
    assert 0 < len(stream.sample) <= 400

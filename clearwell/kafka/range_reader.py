"""Bounded reads: every record of one partition in a range of offsets, outside any consumer group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from clearwell.deadline import call_seconds
from clearwell.errors import Retryable
from clearwell.kafka.clients import require_reachable
from clearwell.kafka.consumer_options import READ_COMMITTED, never_create_topics
from clearwell.kafka.plain_records import read_plain_records
from clearwell.kafka.security import PLAINTEXT, security_of

REQUEST_MS = 20_000
"""How long an answer may take."""

SLICE = 5_000
"""Records handed on at once: a fetch may hold twenty times as many, and they are objects only then."""


@asynccontextmanager
async def reader(bootstrap: str) -> AsyncIterator[KafkaRangeReader]:
    """A reader that is closed at the end. Raises Retryable when Kafka is away, ConfigError when it refuses us."""
    read_plain_records()
    never_create_topics()
    security = security_of(bootstrap)
    if security.protocol != PLAINTEXT:  # why the broker refuses us, aiokafka would tell to its log alone
        await asyncio.to_thread(require_reachable, bootstrap, security.client_options())
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        **security.client_options(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=READ_COMMITTED,
        fetch_max_wait_ms=20,  # a fetch at the end of one partition holds up the first of the next
        max_partition_fetch_bytes=4_194_304,
        request_timeout_ms=REQUEST_MS,
    )
    try:
        await consumer.start()
        await asyncio.sleep(0)  # aiokafka's tasks begin: stop() fails by CancelledError over one that never began
        yield KafkaRangeReader(consumer)
    except KafkaError as error:
        raise Retryable(f"Kafka at {bootstrap} does not answer ({type(error).__name__}): is it running?") from None
    finally:
        await _stop(consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop it, whatever its fetches are doing.

    aiokafka cancels them and awaits one after the other (pinned in test_faust_pin): one that failed, and waits until
    it asks again, raises its cancellation at whoever stops the consumer, and the connections would stay open.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait((stopping,))
    if not stopping.cancelled():
        await stopping
        return
    fetches = list(consumer._fetcher._pending_tasks)
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    await consumer._client.close()


class KafkaRangeReader:
    """Reads ranges one after the other over one connection."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    async def begin(self, topic: str, partition: int) -> int:
        """Offset of the oldest record still there."""
        tp = TopicPartition(topic, partition)
        return int((await self._consumer.beginning_offsets([tp]))[tp])

    async def end(self, topic: str, partition: int) -> int:
        """Offset after the last record that may be read: an open transaction's, and what follows, may not yet."""
        tp = TopicPartition(topic, partition)
        return int((await self._consumer.end_offsets([tp]))[tp])

    async def records(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        """Non-empty lists of records with offsets in [start, end), as far as retention still has them, in order."""
        tp = TopicPartition(topic, partition)
        start, end = max(start, await self.begin(topic, partition)), min(end, await self.end(topic, partition))
        if start >= end:
            return
        self._consumer.assign([tp])
        self._consumer.seek(tp, start)
        until = time.monotonic() + call_seconds()
        while await self._consumer.position(tp) < end:
            fetched = await self._consumer.getmany(tp, timeout_ms=500, max_records=SLICE)
            if fetched:
                until = time.monotonic() + call_seconds()
            elif time.monotonic() > until:  # aiokafka tries for ever, and says so to its log alone (invariant 12)
                raise Retryable(
                    f"Kafka has given no record of {topic} for {call_seconds():g} s, though there are some."
                )
            for records in fetched.values():
                in_range = [record for record in records if record.offset < end]
                if in_range:
                    yield in_range

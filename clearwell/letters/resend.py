"""Rejected events into raw again, each as a new record of its partition, and never twice (invariants 3 and 5).

The intent is durable before the event is sent, and the record carries the intent's secret token in a header. So a
replay that was broken off is found again in the log, or was never sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaProducer

from clearwell.errors import ConfigError, Retryable
from clearwell.kafka import admin, names
from clearwell.kafka.bounded import reader
from clearwell.kafka.clients import connect
from clearwell.kafka.failures import translated
from clearwell.kafka.names import raw_topic
from clearwell.kafka.producer import BATCH_BYTES, DELIVERY_SECONDS
from clearwell.kafka.wire import Header
from clearwell.letters.event import Envelopes
from clearwell.letters.originals import Around, originals
from clearwell.registry import Registry, dead_replays
from clearwell.registry.dead_letters import Letter
from clearwell.registry.dead_replays import SEND_WITHIN, Intent


class Resender:
    """Sends the rejected events of one stream to raw again. Close it."""

    def __init__(self, bootstrap: str, registry: Registry, envelopes: Envelopes, stream: str) -> None:
        """Connects. Raises Retryable when Kafka is not there or the topic does not exist."""
        self._bootstrap = bootstrap
        self._registry = registry
        self._envelopes = envelopes
        self._stream = stream
        self._topic = raw_topic(stream)
        self._topic_id = admin.topic_id(bootstrap, self._topic)
        self._producer = connect(
            KafkaProducer,
            bootstrap,
            client_id=f"clearwell-replay-{stream}",
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            max_request_size=8 * BATCH_BYTES,
            delivery_timeout_ms=int(DELIVERY_SECONDS * 1000),
            request_timeout_ms=10_000,
            max_block_ms=10_000,
            metrics_enabled=False,
        )

    def replay(self, letters: Sequence[Letter]) -> int:
        """Send the events of `letters`; returns how many, when Kafka has acknowledged all of them.

        Letters that are not open any more are passed over. Raises Retryable when some were not acknowledged: the next
        replay finds out which are in raw. Raises SealError, having sent nothing, when one does not open.
        """
        around = originals(self._bootstrap, self._topic_id, letters)
        ends = admin.end_offsets(self._bootstrap, self._topic)
        _require_partitions(letters, ends)
        by_id = {one.id: one for one in letters}
        with self._registry.session() as session:
            intents = dead_replays.begin(session, letters, self._topic_id, ends)
        deadline = time.monotonic() + SEND_WITHIN
        try:
            events = [self._envelopes.open(by_id[one.letter], one.envelope) for one in intents]
            if time.monotonic() > deadline:  # by now somebody else may take it for broken off
                raise Retryable("This machine is too slow to replay safely; nothing was sent: try again.")
        except Exception:
            with self._registry.session() as session:
                dead_replays.forget(session, [one.id for one in intents])
            raise
        sent = self._send(intents, [around[one.letter] for one in intents], events)
        with self._registry.session() as session:
            dead_replays.complete(session, self._stream, sent)
        return len(sent)

    def finish(self, broken: Sequence[Intent]) -> int:
        """Settle replays that were broken off: those found in raw are complete, the others are forgotten.

        Returns how many were found.
        """
        here = [one for one in broken if one.topic_id == self._topic_id]  # a topic that is gone took its events along
        found = asyncio.run(_find(self._bootstrap, self._topic, here)) if here else {}
        with self._registry.session() as session:
            dead_replays.complete(session, self._stream, found)
            dead_replays.forget(session, [one.id for one in broken if one.id not in found])
        return len(found)

    def close(self) -> None:
        """Let go of Kafka."""
        self._producer.close(timeout=1)

    def _send(self, intents: Sequence[Intent], around: Sequence[Around], events: Sequence[bytes]) -> dict[int, int]:
        """Intent → offset, when all are acknowledged. Raises Retryable or ConfigError when one was not."""
        with translated(self._bootstrap, f"writing to {self._topic}: the next replay finds out what is there"):
            futures: list[Any] = []
            for intent, one, event in zip(intents, around, events, strict=True):
                headers: list[Header] = [*one.headers, (names.REPLAY, intent.token.encode())]
                place = {"key": one.key, "headers": headers, "partition": intent.partition}
                futures.append(self._producer.send(self._topic, value=event, **place))
            self._producer.flush(DELIVERY_SECONDS + 10)
            return {one.id: future.get(1).offset for one, future in zip(intents, futures, strict=True)}


async def _find(bootstrap: str, topic: str, intents: Sequence[Intent]) -> dict[int, int]:
    """Intent → offset of the first record that carries its token."""
    by_partition: defaultdict[int, list[Intent]] = defaultdict(list)
    for one in intents:
        by_partition[one.partition].append(one)
    found: dict[int, int] = {}
    async with reader(bootstrap) as log:
        for partition, some in by_partition.items():
            tokens = {one.token.encode(): one.id for one in some}
            start, end = min(one.after for one in some), await log.end(topic, partition)
            async for records in log.records(topic, partition, start, end):
                for record in records:
                    for name, value in record.headers:
                        if name == names.REPLAY and value in tokens:
                            found.setdefault(tokens[value], record.offset)
    return found


def _require_partitions(letters: Sequence[Letter], ends: Mapping[int, int]) -> None:
    """Raises ConfigError for an event of a partition that raw does not have (any more)."""
    for one in letters:
        if one.raw_partition not in ends:
            raise ConfigError(
                f"Dead letter {one.id} is of partition {one.raw_partition}, but {raw_topic(one.stream)} has only "
                f"{len(ends)} partitions now: drop it, or send the event again from its source."
            )

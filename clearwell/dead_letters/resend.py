"""Rejected events into raw again, each as a new record of its partition, and never twice (invariants 3 and 5).

The intent is durable before the event is sent, and the record carries the intent's secret token in a header. So a
replay that was broken off is found again in the log, or was never sent.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from clearwell.dead_letters.event import open_event
from clearwell.dead_letters.originals import KeyAndHeaders, originals
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.kafka import admin, names
from clearwell.kafka.failures import RecordTooLarge
from clearwell.kafka.message_format import Record, encode_headers
from clearwell.kafka.names import raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.kafka.range_reader import reader
from clearwell.privacy.keyring import Keyring
from clearwell.records.cloudevents import JSON
from clearwell.records.structured import STRUCTURED, content_type, is_envelope
from clearwell.registry import dead_letter_replays
from clearwell.registry.database import Sessions
from clearwell.registry.dead_letter_replays import SEND_WITHIN, ReplayIntent
from clearwell.registry.dead_letters import RegisteredDeadLetter


class Resender:
    """Sends the rejected events of one stream to raw again. Close it."""

    def __init__(self, bootstrap: str, sessions: Sessions, keyring: Keyring, stream: str) -> None:
        """Connects. Raises Retryable when Kafka is not there or the topic does not exist."""
        self._bootstrap = bootstrap
        self._sessions = sessions
        self._keyring = keyring
        self._stream = stream
        self._topic = raw_topic(stream)
        self._topic_id = admin.topic_id(bootstrap, self._topic)
        self._producer = EventProducer(bootstrap, f"clearwell-replay-{stream}")

    def replay(self, letters: Sequence[RegisteredDeadLetter]) -> int:
        """Send the events of `letters`; returns how many, when Kafka has acknowledged all of them.

        Those that are not open any more are passed over. Raises Retryable when some were not acknowledged: the next
        replay finds out which are in raw. Raises SealError, having sent nothing, when one does not open;
        RecordTooLarge, having sent all other ones, for those that Kafka does not take.
        """
        before = originals(self._bootstrap, self._topic_id, letters)
        ends = admin.end_offsets(self._bootstrap, self._topic)
        _require_partitions(letters, ends)
        by_id = {letter.id: letter for letter in letters}
        with self._sessions() as session:
            intents = dead_letter_replays.begin(session, letters, self._topic_id, ends)
        deadline = time.monotonic() + SEND_WITHIN
        try:
            records = [
                _record(
                    before[intent.dead_letter_id],
                    intent,
                    open_event(self._keyring, by_id[intent.dead_letter_id], intent.envelope),
                )
                for intent in intents
            ]
            if time.monotonic() > deadline:  # by now somebody else may take it for broken off
                raise Retryable("This machine is too slow to replay safely; nothing was sent: try again.")
        except Exception:
            with self._sessions() as session:
                dead_letter_replays.forget(session, [intent.id for intent in intents])
            raise
        sent, too_large, error = self._send(intents, records)
        with self._sessions() as session:
            dead_letter_replays.complete(session, self._stream, sent)
            dead_letter_replays.forget(session, too_large)
        if error is not None:
            raise error
        return len(sent)

    def find_sent(self, broken: Sequence[ReplayIntent]) -> dict[int, int]:
        """Of replays that were broken off, those whose event is in raw: by intent, its offset."""
        here = [
            intent for intent in broken if intent.topic_id == self._topic_id
        ]  # a topic that is gone took its events along
        return asyncio.run(_find(self._bootstrap, self._topic, here)) if here else {}

    def close(self) -> None:
        """Let go of Kafka."""
        self._producer.close()

    def _send(
        self, intents: Sequence[ReplayIntent], records: Sequence[Record]
    ) -> tuple[dict[int, int], list[int], ClearwellError | None]:
        """Intent → offset of those that are acknowledged, those that Kafka refused, and why others are not known."""
        by_partition: defaultdict[int, list[tuple[int, Record]]] = defaultdict(list)
        for intent, record in zip(intents, records, strict=True):
            by_partition[intent.partition].append((intent.id, record))
        sent: dict[int, int] = {}
        too_large: list[int] = []
        error: ClearwellError | None = None
        placing = {
            partition: self._producer.begin_at(self._topic, partition, [record for _, record in some])
            for partition, some in by_partition.items()
        }
        for partition, some in by_partition.items():
            ids = [intent for intent, _ in some]
            try:
                sent.update(zip(ids, placing[partition].offsets(), strict=True))
            except RecordTooLarge as refused:
                too_large += ids
                error = error or refused
            except ClearwellError as unknown:
                error = Retryable(f"{unknown} The next replay finds out what is in {self._topic}.")
        return sent, too_large, error


def _record(original: KeyAndHeaders, intent: ReplayIntent, event: bytes) -> Record:
    """As a foreign client wrote it, null headers and doubled ones too, and with the token.

    What a dead letter of a CloudEvent in structured mode holds is its data, so that is what its content type must say.
    """
    headers = original.headers
    if content_type(headers).startswith(STRUCTURED) and not is_envelope(event):
        headers = [pair for pair in headers if pair[0].lower() != names.CONTENT_TYPE]
        headers = [*headers, (names.CONTENT_TYPE, JSON)]
    return Record(original.key, event, encode_headers([*headers, (names.REPLAY, intent.token.encode())]), b"")


async def _find(bootstrap: str, topic: str, intents: Sequence[ReplayIntent]) -> dict[int, int]:
    """Intent → offset of the first record that carries its token."""
    by_partition: defaultdict[int, list[ReplayIntent]] = defaultdict(list)
    for intent in intents:
        by_partition[intent.partition].append(intent)
    offsets: dict[int, int] = {}
    async with reader(bootstrap) as log:
        for partition, some in by_partition.items():
            tokens = {intent.token.encode(): intent.id for intent in some}
            start, end = min(intent.after for intent in some), await log.end(topic, partition)
            async for records in log.records(topic, partition, start, end):
                for record in records:
                    for name, value in record.headers:
                        if name == names.REPLAY and value in tokens:
                            offsets.setdefault(tokens[value], record.offset)
    return offsets


def _require_partitions(letters: Sequence[RegisteredDeadLetter], ends: Mapping[int, int]) -> None:
    """Raises ConfigError for an event of a partition that raw does not have (any more)."""
    for letter in letters:
        if letter.raw_partition not in ends:
            raise ConfigError(
                f"Dead letter {letter.id} is of partition {letter.raw_partition}, but {raw_topic(letter.stream)} has "
                f"only {len(ends)} partitions now: discard it, or send the event again from its source."
            )

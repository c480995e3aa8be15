"""A topic of another Kafka cluster: its records' values as events, read outside of any consumer group."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import closing
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from clearwell.errors import ConfigError
from clearwell.kafka.security import MechanismOption, SecurityOption
from clearwell.records.structured import JSON_EVENT, STRUCTURED, attribute, content_type, unwrapped
from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    Batch,
    BatchEvents,
    Count,
    DiscoveredStream,
    Lag,
    Password,
    PemFile,
    Refusal,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    Username,
    refuse,
)
from connectors.kafka.cluster import Reading, SourceCluster
from connectors.reader_thread import CountedBatch, Every, ReaderThread
from connectors.samples import field_types, json_objects

SAMPLE = 200
CE = "ce_"
"""How names of headers begin that are attributes of a CloudEvent in binary mode."""


class KafkaConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which topic to read, and how to reach it.

    A value is passed on untouched; a record without one (a tombstone) becomes a dead letter that says so.
    """

    bootstrap: Annotated[str, Meta(description='"host:port[,host:port]".')]
    topic: Annotated[str, Meta(description="its name.")]
    start: Annotated[
        Literal["earliest", "latest"], Meta(description='where a new connector begins, "earliest" or "latest".')
    ] = "earliest"
    follow: Annotated[
        bool,
        Meta(description="keep reading what is appended; without it reading ends where the topic ended when it began."),
    ] = True
    isolation: Annotated[
        Literal["read_committed", "read_uncommitted"],
        Meta(description='"read_committed" passes over records of transactions that were aborted or are still open.'),
    ] = "read_committed"
    id_header: Annotated[
        str | None,
        Meta(
            description="the header whose value is the event's id, such as `ce_id` of CloudEvents, which in "
            "structured mode is read from the envelope; without it, or where a record lacks it, the id "
            'is "<topic id>/<partition>/<offset>", which is new when the topic is deleted and made '
            "again."
        ),
    ] = None
    security: SecurityOption = "plaintext"
    ca: PemFile | None = None
    mechanism: MechanismOption = "SCRAM-SHA-512"
    username: Username = None
    password: Password = None
    batch_events: BatchEvents = 5_000

    def __repr__(self) -> str:  # invariant 10
        return f"KafkaConfig(bootstrap={self.bootstrap!r}, topic={self.topic!r})"


class KafkaPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The offset to read next in each partition, from 0 on, of the topic with this id (KIP-516)."""

    topic_id: str
    offsets: list[Annotated[int, Meta(ge=0)]]


class KafkaSource:
    """Reads a topic of another Kafka cluster, all partitions at once."""

    name: ClassVar[str] = "kafka"
    Config: ClassVar[type[SourceConfig]] = KafkaConfig
    Position: ClassVar[type[SourcePosition]] = KafkaPosition
    id_fields: tuple[str, ...] = ()

    def __init__(self, config: KafkaConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._cluster = SourceCluster(
            config.bootstrap, config.topic, config.isolation, config.security, config.ca, config.mechanism,
            config.username, config.password,
        )  # fmt: skip
        self._closed = False
        self._items = 0
        self._behind: int | None = None

    def check(self) -> None:
        """Prove that the topic is there and may be read."""
        self._cluster.topic_id()
        with closing(self._cluster.open(1)) as reading:
            reading.begin(reading.ends())
            reading.poll(100)

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the topic; types are guessed from its last records."""
        topic_id = self._cluster.topic_id()
        with closing(self._cluster.open(SAMPLE)) as reading:
            ends, first = reading.ends(), reading.begins()
            reading.begin([max(begin, end - SAMPLE) for begin, end in zip(first, ends, strict=True)])
            sample: list[SourceEvent] = []
            deadline = time.monotonic() + 5
            while len(sample) < SAMPLE and not reading.reached(ends) and time.monotonic() < deadline:
                sample += self._events(reading.poll(500), topic_id)
        rows = json_objects(sample)
        return [DiscoveredStream(self._config.topic, field_types(rows), rows)]

    async def read(self, after: KafkaPosition | None) -> AsyncIterator[Batch]:
        """Batches of records. Raises ConfigError when records are gone that were not read yet."""
        thread: ReaderThread[CountedBatch] = ReaderThread(lambda thread: self._follow(thread, after), "kafka source")
        async with thread:
            while not self._closed and (taken := await thread.take()) is not None:
                batch, items = taken
                self._items += items
                yield batch

    async def close(self) -> None:
        """Stop following."""
        self._closed = True

    def count(self) -> Count:
        """Records that were fetched; how many a topic holds its offsets do not tell (transactions, compaction)."""
        return Count(self._items)

    def lag(self) -> Lag:
        """Offsets that are not fetched yet, by what the brokers' last answers said."""
        return Lag(self._behind, 0.0 if self._behind == 0 else None)

    def between(self, old: KafkaPosition | None, new: KafkaPosition | None) -> str:
        """A count of records a partition."""
        was = [] if old is None else old.offsets
        now = [] if new is None else new.offsets
        size = max(len(was), len(now))
        moves = zip(was + [0] * (size - len(was)), now + [0] * (size - len(now)), strict=True)
        told = [
            f"{abs(a - b)} of partition {partition} {'again' if b < a else 'skipped'}"
            for partition, (a, b) in enumerate(moves)
            if a != b
        ]
        return f"Records of {self._config.topic}: {', '.join(told) or 'none read again or skipped'}."

    def _follow(self, thread: ReaderThread[CountedBatch], after: KafkaPosition | None) -> None:
        """In a thread: offer what the topic holds and, when following, what comes."""
        topic_id = self._cluster.topic_id()
        with closing(self._cluster.open(self._config.batch_events)) as reading:
            self._start(reading, after, topic_id)
            ends, beat = reading.ends(), Every(HEARTBEAT_SECONDS / 2)
            while self._config.follow or not reading.reached(ends):
                thread.require_wanted()
                records = reading.poll(200)
                self._behind = reading.behind
                self._cluster.require_same(topic_id)
                if records or beat.due():
                    position = KafkaPosition(topic_id=topic_id, offsets=reading.offsets())
                    thread.offer(((self._events(records, topic_id), position), len(records)))
                    beat.again()

    def _start(self, reading: Reading, after: KafkaPosition | None, topic_id: str) -> None:
        if after is None:
            begin = reading.begins() if self._config.start == "earliest" else reading.ends()
        elif after.topic_id != topic_id:
            raise ConfigError(
                f"{self._config.topic} was deleted and made again since it was read: look whether anything of the old "
                "one is missing, then reset the connector."
            )
        else:
            begin = reading.continued(after.offsets)
        reading.begin(begin)

    def _events(self, records: Iterable[Any], topic_id: str) -> list[SourceEvent]:
        events = []
        for record in records:
            value, kind = record.value, content_type(record.headers)
            event_id = id_of(record, kind, self._config.id_header) or f"{topic_id}/{record.partition}/{record.offset}"
            if value is None:
                events.append(SourceEvent(event_id, b"", Refusal.TOMBSTONE))
            elif len(value) > EVENT_LIMIT:
                events.append(refuse(event_id, len(value), value))
            else:
                events.append(kafka_event(event_id, value, kind))
        return events


def kafka_event(event_id: str, value: bytes, kind: str) -> SourceEvent:
    """A record's event; of a CloudEvent in structured mode that is its data."""
    if not kind.startswith(STRUCTURED):
        return SourceEvent(event_id, value)
    data = unwrapped(value, kind)
    return SourceEvent(event_id, value, data) if isinstance(data, Refusal) else SourceEvent(event_id, data)


def id_of(record: Any, kind: str, header: str | None) -> str:
    """What the sender calls a record's event, by the header that is configured; "" for nothing.

    In structured mode the attributes of a CloudEvent are in the value, and `ce_id` stands for its `id`.
    """
    if header is None:
        return ""
    if kind == JSON_EVENT and header.startswith(CE) and record.value is not None and len(record.value) <= EVENT_LIMIT:
        named = attribute(record.value, header.removeprefix(CE))
        if named:
            return named
    headers: Mapping[str, bytes | None] = dict(record.headers)
    return (headers.get(header) or b"").decode(errors="backslashreplace")

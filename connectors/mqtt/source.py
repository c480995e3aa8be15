"""Topics of an MQTT broker: messages wait in a session at the broker until Kafka has them."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    Batch,
    BatchEvents,
    Count,
    DiscoveredStream,
    Password,
    PemFile,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    Username,
    refuse,
)
from connectors.field_id import FieldId
from connectors.mqtt.session import Login, MqttMessage, Session
from connectors.reader_thread import Every, ReaderThread
from connectors.samples import field_types, json_objects

SAMPLE, SAMPLE_SECONDS = 200, 2.0
Filters = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]


class MqttConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which topics to follow, and as whom."""

    url: Annotated[str, Meta(description="`mqtt://host:1883`, or `mqtts://host:8883` for TLS.")]
    topics: Annotated[Filters, Meta(description="topic filters, such as `plant/+/temperature`.")]
    client_id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            description="names the session that the broker keeps for this connector while it is away; nobody else "
            "may use it.",
        ),
    ]
    qos: Annotated[
        Literal[0, 1],
        Meta(description="1, or 0 for brokers without sessions: what comes while the connector is away is then lost."),
    ] = 1
    id_field: Annotated[
        str | None,
        Meta(
            description="the field whose value is an event's id. MQTT itself has none: without it a message that the "
            "broker sends again after a crash is a second event; what the broker retains has one id for "
            "as long as it stays the same."
        ),
    ] = None
    topic_field: Annotated[
        str | None, Meta(description="the name under which the message's topic is put into the event.")
    ] = None
    username: Username = None
    password: Password = None
    ca: PemFile | None = None
    version: Annotated[Literal["3.1.1", "5"], Meta(description="of the protocol.")] = "3.1.1"
    session_expiry: Annotated[
        int, Meta(ge=0, description="seconds for which the broker keeps the session (version 5).")
    ] = 604_800
    batch_events: BatchEvents = 1_000

    def __repr__(self) -> str:  # invariant 10
        return f"MqttConfig(topics={self.topics!r}, client_id={self.client_id!r})"


class MqttPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many messages were taken so far: a count for people; where to go on is known to the broker's session.

    `subscription` is the mark of what the session has subscribed to: as long as broker and we agree on it, we do not
    subscribe again, for then the broker would send what it retains once more.
    """

    taken: Annotated[int, Meta(ge=0)]
    subscription: str = ""


class MqttSource:
    """Follows topics of an MQTT broker; it may forget a message once its event is durable."""

    name: ClassVar[str] = "mqtt"
    Config: ClassVar[type[SourceConfig]] = MqttConfig
    Position: ClassVar[type[SourcePosition]] = MqttPosition

    def __init__(self, config: MqttConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._login = Login(
            config.url, config.username, config.password, config.ca, config.version, config.session_expiry
        )
        self._id = None if config.id_field is None else FieldId(config.id_field)
        self._session: Session | None = None
        self._pending: deque[tuple[int, MqttMessage]] = deque()
        self._closed = False
        self._items = 0
        asked = msgspec.json.encode([config.topics, config.qos])
        self._subscription = hashlib.blake2b(asked, digest_size=8).hexdigest()

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field; without one an id is a hash of the message."""
        return (self._config.id_field or "*",)

    def check(self) -> None:
        """Prove that the broker lets us in and takes the subscriptions, in a session that ends at once."""
        session = self._passing_session()
        session.close()

    def discover(self) -> list[DiscoveredStream]:
        """One stream; types are guessed from the messages of the first two seconds, retained ones among them."""
        session = self._passing_session()
        try:
            sample: list[SourceEvent] = []
            deadline = time.monotonic() + SAMPLE_SECONDS
            while len(sample) < SAMPLE and (left := deadline - time.monotonic()) > 0:
                sample += self._events(session.take(SAMPLE, left))
        finally:
            session.close()
        rows = json_objects(sample)
        words = [word for word in self._config.topics[0].split("/") if word.strip("+#$")]
        return [DiscoveredStream(words[-1] if words else "messages", field_types(rows), rows)]

    async def read(self, after: MqttPosition | None) -> AsyncIterator[Batch]:
        """Messages as they come, for ever. Raises Retryable when the connection ends: the broker then sends again."""
        taken = 0 if after is None else after.taken
        known = "" if after is None else after.subscription
        thread: ReaderThread[list[MqttMessage]] = ReaderThread(
            lambda thread: self._follow(thread, known), "mqtt source"
        )
        async with thread:
            try:
                while not self._closed and (messages := await thread.take()) is not None:
                    self._pending.extend(enumerate(messages, taken + 1))
                    taken += len(messages)
                    self._items += len(messages)
                    yield self._events(messages), MqttPosition(taken=taken, subscription=self._subscription)
            finally:
                self._pending.clear()

    async def acknowledged(self, position: MqttPosition) -> None:
        """Tell the broker of the messages up to `position` (invariant 1: only now may it forget them)."""
        session = self._session
        while self._pending and self._pending[0][0] <= position.taken:
            _, message = self._pending.popleft()
            if session is not None:
                session.acknowledge(message)

    def between(self, old: MqttPosition | None, new: MqttPosition | None) -> str:
        """Nothing: the position is a count for people."""
        return "Nothing would be read again or skipped: the broker's session knows where to go on, not the position."

    def dispose(self) -> None:
        """Have the broker forget the session and what waits in it."""
        self._login.open(self._config.client_id, clean=True).close()

    def count(self) -> Count:
        """Messages that came; how many there were only the broker knows."""
        return Count(self._items)

    async def close(self) -> None:
        """Stop following; the broker keeps the session."""
        self._closed = True

    def _follow(self, thread: ReaderThread[list[MqttMessage]], known: str) -> None:
        """In a thread: offer the messages of the session, which was subscribed to `known`."""
        session = self._login.open(self._config.client_id, clean=False)
        try:
            if not session.goes_on or known != self._subscription:
                session.subscribe(self._config.topics, self._config.qos)
            self._session, beat = session, Every(HEARTBEAT_SECONDS / 2)
            while True:
                thread.require_wanted()
                messages = session.take(self._config.batch_events, 0.2)
                if messages or beat.due():
                    thread.offer(messages)
                    beat.again()
        finally:
            self._session = None
            session.close()

    def _passing_session(self) -> Session:
        session = self._login.open(None, clean=True)
        try:
            session.subscribe(self._config.topics, 0)
        except BaseException:
            session.close()
            raise
        return session

    def _events(self, messages: Sequence[MqttMessage]) -> list[SourceEvent]:
        return [self._event(message) for message in messages]

    def _event(self, message: MqttMessage) -> SourceEvent:
        data = message.payload
        event_id = None if self._id is None else self._id.of(data)
        if event_id is None:
            digest = hashlib.blake2b(message.topic.encode() + b"\0" + data, digest_size=12).hexdigest()
            event_id = f"{digest}/{'retained' if message.retained else message.received_ns}"
        if self._config.topic_field is not None:
            data = _with_topic(data, self._config.topic_field, message.topic)
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)


def _with_topic(data: bytes, name: str, topic: str) -> bytes:
    """A JSON object with one more field in front; what is none stays as it is, for the cleaner to judge."""
    text = data.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return data
    field = msgspec.json.encode(name) + b":" + msgspec.json.encode(topic)
    rest = text[1:].lstrip()
    return b"{" + field + (b"" if rest == b"}" else b",") + rest

"""A stream of server-sent events, gone on with where it stopped by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, ClassVar

from aiohttp import ClientResponse, ClientSession
from msgspec import Meta

from clearwell.backoff import delays
from clearwell.errors import ConfigError
from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    Batch,
    BatchEvents,
    Count,
    DiscoveredStream,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    refuse,
)
from connectors.field_id import FieldId
from connectors.http.failures import failures, require_success
from connectors.http.json_body import events_of
from connectors.http.session import HttpServer, HttpSourceConfig, Seconds, beats, pause
from connectors.http.stream import Inbox, make, passing_id, sample_for
from connectors.samples import field_types, json_objects
from connectors.sse.stream import Parser, ServerSentEvent

log = logging.getLogger(__name__)
SAMPLE, SAMPLE_SECONDS = 200, 2.0
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0


class SseConfig(HttpSourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which stream to follow.

    Only a stream whose events have an `id:` can be gone on with: when one has none, what the server sends while we
    are not connected is lost, and its ids are made of what an event says and when it came. A list of objects is an
    event an object.
    """

    events: Annotated[
        list[str], Meta(description="the event types to take, such as `message`; all when left out.")
    ] = []
    id_field: Annotated[
        str | None,
        Meta(
            description="the field whose value is an event's id; without it the id is the stream's own, with "
            '"+<number>" for events that follow on one with an id.'
        ),
    ] = None
    silence: Annotated[
        Seconds,
        Meta(
            description="seconds after which a connection on which nothing comes, not even a comment, is taken for "
            "dead."
        ),
    ] = 300.0
    batch_events: BatchEvents = 5_000


class SsePosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The last event id, after which the server goes on; `received` counts the events, for people."""

    last_id: str = ""
    received: int = 0


class SseSource:
    """Follows a stream of server-sent events."""

    name: ClassVar[str] = "sse"
    Config: ClassVar[type[SourceConfig]] = SseConfig
    Position: ClassVar[type[SourcePosition]] = SsePosition

    def __init__(self, config: SseConfig) -> None:
        """Does no I/O yet. Raises ConfigError when the options can't work."""
        self._config = config
        self._server = HttpServer(config)
        self._id = None if config.id_field is None else FieldId(config.id_field)
        self._retry: float | None = None
        self._over = False
        self._warned = False
        self._closed = asyncio.Event()
        self._items = 0

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field; without one an id may be a hash of the event."""
        return (self._config.id_field or "*",)

    def check(self) -> None:
        """Prove that the stream can be opened."""
        asyncio.run(self._sample(0, 0.0))

    def discover(self) -> list[DiscoveredStream]:
        """One stream; types are guessed from the events of the first two seconds."""
        rows = json_objects(asyncio.run(self._sample(SAMPLE, SAMPLE_SECONDS)))
        return [DiscoveredStream(self._server.url.name or "events", field_types(rows), rows)]

    async def read(self, after: SsePosition | None) -> AsyncIterator[Batch]:
        """Events as they come; ends when the server says that there is no more (204). Raises as `check` does."""
        position, waits = after, delays(FIRST_RETRY, LONGEST_RETRY)
        async with self._server.session(endless=True) as session:
            while not self._closed.is_set():
                async with aclosing(self._follow(session, position)) as batches:
                    async for events, reached in batches:
                        position = reached
                        if events:
                            waits = delays(self._retry or FIRST_RETRY, LONGEST_RETRY)
                        yield events, reached
                if self._over:
                    return
                seconds = max(next(waits), self._retry or 0.0)
                log.info("%s ended the stream; connecting again in %.1f s", self._server.name, seconds)
                pausing = asyncio.ensure_future(pause(self._closed, seconds))
                async with aclosing(beats(pausing, HEARTBEAT_SECONDS)) as waiting:
                    async for _ in waiting:
                        yield [], position

    def between(self, old: SsePosition | None, new: SsePosition | None) -> str:
        """In events: the ids are the server's own, and have no order that we know."""
        if new is None or not new.last_id:
            return "Reading would begin with what the server sends to a new reader."
        return f"The server would be asked for what follows its event {new.last_id}{_distance(old, new)}."

    def count(self) -> Count:
        """Events of the types to take, and elements of those that are lists; how many there were is the server's."""
        return Count(self._items)

    async def close(self) -> None:
        """Stop following; the connection is closed when its reader ends or is closed."""
        self._closed.set()

    async def _follow(
        self, session: ClientSession, position: SsePosition | None
    ) -> AsyncGenerator[tuple[list[SourceEvent], SsePosition | None], None]:
        """One connection, until the server ends it or falls silent."""
        last_id, received = ("", 0) if position is None else (position.last_id, position.received)
        opening = asyncio.ensure_future(self._open(session, last_id))
        async with aclosing(beats(opening, HEARTBEAT_SECONDS)) as waiting:
            async for _ in waiting:
                yield [], position
        response = opening.result()
        if response is None:
            return
        parser, heard = Parser(last_id), time.monotonic()
        async with response, self._inbox(response).open() as inbox:
            while not self._closed.is_set() and time.monotonic() - heard < self._config.silence:
                with failures(self._server.name):
                    chunks = await inbox.take(min(0.9 * HEARTBEAT_SECONDS, self._config.silence))
                messages = [message for chunk in chunks for message in parser.feed(chunk)]
                self._retry = parser.retry if parser.retry is not None else self._retry
                for part in _parts(messages, self._config.batch_events):
                    received += len(part)
                    position = SsePosition(last_id=part[-1].last_id, received=received)
                    yield await make(partial(self._events, part), sum(len(message.data) for message in part)), position
                if not chunks:
                    yield [], position
                if b"" in chunks:
                    return
                heard = time.monotonic() if chunks else heard

    async def _open(self, session: ClientSession, last_id: str) -> ClientResponse | None:
        """The open stream; None when the server says that there is no more."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        who = self._server.name
        if last_id:
            headers["Last-Event-ID"] = last_id
            if not last_id.isprintable():
                raise ConfigError(f"The last event id of {who} can't be sent in a header: reset the connector.")
        with failures(who):
            async with asyncio.timeout(self._config.timeout):
                response = await session.get(self._server.url, headers=headers, max_redirects=5)
        self._over = response.status == 204
        try:
            require_success(response.status, response.headers, who)
            if not self._over and response.content_type != "text/event-stream":
                raise ConfigError(f"{who} sent no event stream at this URL: set `url` and `auth` right.")
        except BaseException:
            response.close()
            raise
        return None if self._over else response

    def _inbox(self, response: ClientResponse) -> Inbox[bytes]:
        return Inbox(response.content.readany, lambda chunk: not chunk)

    def _events(self, messages: Sequence[ServerSentEvent]) -> list[SourceEvent]:
        """A list is an event an element."""
        kinds, events = self._config.events, list[SourceEvent]()
        for message in messages:
            if kinds and message.type not in kinds:
                continue
            items = events_of(message.data) if message.size <= EVENT_LIMIT else None
            for number, data in enumerate([message.data] if items is None else items):
                self._items += 1
                events.append(self._event(message, data, None if items is None else number))
        return events

    def _event(self, message: ServerSentEvent, data: bytes, number: int | None) -> SourceEvent:
        """Of a message, or of its element `number`."""
        event_id = None if self._id is None else self._id.of(data)
        suffix = "" if number is None else f"/{number}"
        if not event_id and message.last_id:
            event_id = (message.last_id if not message.nth else f"{message.last_id}+{message.nth}") + suffix
        if not message.last_id and not self._warned:
            self._warned = True
            log.warning(
                "%s sends events without an id: what it sends while we are not connected is lost", self._server.name
            )
        event_id = event_id or passing_id(data) + suffix
        if message.size > EVENT_LIMIT:
            return refuse(event_id, message.size, message.data)
        return SourceEvent(event_id, data)

    async def _sample(self, most: int, seconds: float) -> list[SourceEvent]:
        left, sample, parser = sample_for(seconds), list[SourceEvent](), Parser()
        async with self._server.session(endless=True) as session:
            response = await self._open(session, "")
            if response is None:
                return []
            async with response, self._inbox(response).open() as inbox:
                while len(sample) < most and left() > 0:
                    with failures(self._server.name):
                        chunks = await inbox.take(left())
                    for chunk in chunks:
                        sample += self._events(parser.feed(chunk))
                    if b"" in chunks:
                        break
        return sample[:most]


def _parts(messages: Sequence[ServerSentEvent], size: int) -> Iterator[Sequence[ServerSentEvent]]:
    return (messages[at : at + size] for at in range(0, len(messages), size))


def _distance(old: SsePosition | None, new: SsePosition) -> str:
    moved = new.received - (0 if old is None else old.received)
    if not moved or not new.received:
        return ""
    return (
        f", {abs(moved)} events {'earlier: they would be read again' if moved < 0 else 'later: they would be skipped'}"
    )

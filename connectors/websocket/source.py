"""Messages of a WebSocket, gone on with where they stopped when the server can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSMsgType, WSServerHandshakeError
from msgspec import Meta

from clearwell.backoff import delays
from clearwell.errors import ConfigError, Retryable
from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    Batch,
    BatchEvents,
    Count,
    DiscoveredStream,
    Refusal,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    refuse,
)
from connectors.field_id import FieldId
from connectors.http.failures import failures, require_success
from connectors.http.json_body import events_of
from connectors.http.session import HttpServer, HttpSourceConfig, beats, pause
from connectors.http.stream import Inbox, make, passing_id, sample_for
from connectors.samples import field_types, json_objects

log = logging.getLogger(__name__)
SAMPLE, SAMPLE_SECONDS = 200, 2.0
FIRST_RETRY, LONGEST_RETRY = 0.5, 30.0
CLOSE_SECONDS = 2.0
LARGEST_MESSAGE = 4 * EVENT_LIMIT
PLACEHOLDER = "$position"
_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_NORMAL = (None, 1000, 1001, 1005, 1006, 1012)


class Frame(Protocol):
    """What aiohttp gives: `data` are a text's or binary message's bytes, or the error that ended the connection."""

    @property
    def type(self) -> WSMsgType:
        """Of which kind."""

    @property
    def data(self) -> Any:
        """What it holds."""


class WebSocketConfig(HttpSourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which messages to follow.

    Without `position_field` and one of `resume`, `resume_param`, what the server sends while we are not connected
    is lost; without ids, they are made of what a message says and when it came. A list of objects is an event an
    object. Binary messages become dead letters, and so do those larger than an event may be.
    """

    protocols: Annotated[list[str], Meta(description="subprotocols we offer.")] = []
    subscribe: Annotated[Any, Meta(description="a JSON message that is sent after connecting.")] = None
    id_field: Annotated[
        str | None,
        Meta(description="the field whose value is an event's id; without it the id is the value of `position_field`."),
    ] = None
    position_field: Annotated[
        str | None,
        Meta(description="the field whose value, text or a whole number, says where in the stream a message is."),
    ] = None
    resume: Annotated[
        Any,
        Meta(
            description="a message sent instead of `subscribe` to go on after such a value, which stands in it for "
            '"$position".'
        ),
    ] = None
    resume_param: Annotated[str | None, Meta(description="the query parameter of `url` that takes the value.")] = None
    ping_seconds: Annotated[
        float,
        Meta(
            ge=0.1, le=3_600, description="so often the server must answer a ping, or the connection is taken for dead."
        ),
    ] = 20.0
    batch_events: BatchEvents = 5_000


class WebSocketPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The last message's value of `position_field`; `received` counts the messages, for people."""

    after: str | int | None = None
    received: int = 0


class WebSocketSource:
    """Follows the messages of a WebSocket."""

    name: ClassVar[str] = "websocket"
    Config: ClassVar[type[SourceConfig]] = WebSocketConfig
    Position: ClassVar[type[SourcePosition]] = WebSocketPosition

    def __init__(self, config: WebSocketConfig) -> None:
        """Does no I/O yet. Raises ConfigError when the options contradict each other."""
        resumes = config.resume is not None or config.resume_param is not None
        if resumes != (config.position_field is not None):
            raise ConfigError("Going on needs `position_field`, and `resume` or `resume_param`: set both, or none.")
        self._config = config
        self._server = HttpServer(config, ("wss", "ws"))
        self._id = None if config.id_field is None else FieldId(config.id_field)
        self._place = None if config.position_field is None else PlaceField(config.position_field)
        self._closed = asyncio.Event()
        self._items = 0

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field, or the one that says where a message is; without either an id is a message's hash."""
        return (self._config.id_field or self._config.position_field or "*",)

    def check(self) -> None:
        """Prove that the server lets us in."""
        asyncio.run(self._sample(0, 0.0))

    def discover(self) -> list[DiscoveredStream]:
        """One stream; types are guessed from the messages of the first two seconds."""
        rows = json_objects(asyncio.run(self._sample(SAMPLE, SAMPLE_SECONDS)))
        return [DiscoveredStream(self._server.url.name or "messages", field_types(rows), rows)]

    async def read(self, after: WebSocketPosition | None) -> AsyncIterator[Batch]:
        """Messages as they come, for ever. Raises as `check` does."""
        position, waits = after, delays(FIRST_RETRY, LONGEST_RETRY)
        if self._place is None:
            log.warning("%s: what is sent while we are not connected is lost (no `position_field`)", self._server.name)
        async with self._server.session(endless=True) as session:
            while not self._closed.is_set():
                async with aclosing(self._follow(session, position)) as batches:
                    async for events, reached in batches:
                        position = reached
                        if events:
                            waits = delays(FIRST_RETRY, LONGEST_RETRY)
                        yield events, reached
                seconds = next(waits)
                log.info("%s ended the connection; connecting again in %.1f s", self._server.name, seconds)
                pausing = asyncio.ensure_future(pause(self._closed, seconds))
                async with aclosing(beats(pausing, HEARTBEAT_SECONDS)) as waiting:
                    async for _ in waiting:
                        yield [], position

    def between(self, old: WebSocketPosition | None, new: WebSocketPosition | None) -> str:
        """In values of `position_field`, where the server can go on by it."""
        field = self._config.position_field
        if field is None or new is None or new.after is None:
            return "Reading would begin with what the server sends to a new reader."
        was = None if old is None else old.after
        if isinstance(was, int) and isinstance(new.after, int):
            way = "read again" if new.after < was else "skipped"
            low, high = sorted((was, new.after))
            return f"Messages after {field} {low} up to {high} would be {way}."
        return f"The server would be asked for what follows {field} {new.after}."

    def count(self) -> Count:
        """Messages, and elements of those that are lists; how many there were only the server knows."""
        return Count(self._items)

    async def close(self) -> None:
        """Stop following; the connection is closed when its reader ends or is closed."""
        self._closed.set()

    async def _follow(
        self, session: ClientSession, position: WebSocketPosition | None
    ) -> AsyncGenerator[tuple[list[SourceEvent], WebSocketPosition | None], None]:
        """One connection, until the server ends it."""
        received, after = (0, None) if position is None else (position.received, position.after)
        opening = asyncio.ensure_future(self._open(session, after))
        async with aclosing(beats(opening, HEARTBEAT_SECONDS)) as waiting:
            async for _ in waiting:
                yield [], position
        async with opening.result() as socket, _inbox(socket).open() as inbox:
            while not self._closed.is_set():
                with failures(self._server.name):
                    frames = await inbox.take(0.9 * HEARTBEAT_SECONDS, self._config.batch_events)
                messages = [frame for frame in frames if frame.type not in _ENDS]
                size = sum(len(frame.data) for frame in messages)
                events, after = await make(partial(self._events, messages, after), size)
                if messages:
                    received += len(events)
                    position = WebSocketPosition(after=after, received=received)
                if messages or not frames:
                    yield events, position
                if frames and frames[-1].type in _ENDS:
                    self._require_normal_end(socket, frames[-1])
                    return

    async def _open(self, session: ClientSession, after: str | int | None) -> ClientWebSocketResponse[bool]:
        """A connection that goes on after a value of `position_field`. Raises ConfigError, Retryable."""
        config, url = self._config, self._server.url
        if after is not None and config.resume_param is not None:
            url = url.update_query({config.resume_param: str(after)})
        with failures(self._server.name):
            try:
                async with asyncio.timeout(config.timeout):
                    socket = await session.ws_connect(
                        url,
                        protocols=config.protocols,
                        heartbeat=config.ping_seconds,
                        max_msg_size=LARGEST_MESSAGE,
                        decode_text=False,
                        timeout=ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    )
            except WSServerHandshakeError as error:
                require_success(error.status, error.headers or {}, self._server.name)
                raise ConfigError(f"{self._server.name} speaks no WebSocket at this URL: set `url` right.") from None
            message = config.subscribe
            if after is not None and config.resume is not None:
                message = _with_position(config.resume, after)
            if message is not None:
                await socket.send_frame(msgspec.json.encode(message), WSMsgType.TEXT)
        return socket

    def _events(self, frames: Sequence[Frame], after: str | int | None) -> tuple[list[SourceEvent], str | int | None]:
        """The events of messages, a list's elements each, and where the stream is after them."""
        events: list[SourceEvent] = []
        for frame in frames:
            text = frame.type is WSMsgType.TEXT
            items = events_of(frame.data) if text else None
            for number, data in enumerate([frame.data] if items is None else items):
                self._items += 1
                place = self._place.of(data) if text and self._place is not None else None
                after = after if place is None else place
                events.append(self._event(data, text, None if items is None else number))
        return events, after

    def _event(self, data: bytes, text: bool, number: int | None) -> SourceEvent:
        """Of a message, or of its element `number`."""
        event_id = None if self._id is None else self._id.of(data)
        if not event_id and self._place is not None:
            event_place = self._place.of(data)
            event_id = None if event_place is None else str(event_place)
        event_id = event_id or passing_id(data) + ("" if number is None else f"/{number}")
        if len(data) > EVENT_LIMIT:
            return refuse(event_id, len(data), data)
        return SourceEvent(event_id, data, None if text else Refusal.BINARY)

    def _require_normal_end(self, socket: ClientWebSocketResponse[bool], frame: Frame) -> None:
        """Raises Retryable or ConfigError unless the server ended the connection in peace."""
        who, code = self._server.name, socket.close_code
        if code == 1009:
            raise ConfigError(f"{who} sent a message larger than {LARGEST_MESSAGE} bytes: have it send smaller ones.")
        if frame.type is WSMsgType.ERROR and isinstance(frame.data, TimeoutError):
            raise Retryable(f"{who} did not answer a ping; trying again.")
        if code not in _NORMAL:
            raise Retryable(f"{who} ended the connection with the code {code}; trying again.")

    async def _sample(self, most: int, seconds: float) -> list[SourceEvent]:
        left, sample = sample_for(seconds), list[SourceEvent]()
        async with (
            self._server.session(endless=True) as session,
            await self._open(session, None) as socket,
            _inbox(socket).open() as inbox,
        ):
            while len(sample) < most and left() > 0:
                with failures(self._server.name):
                    frames = await inbox.take(left())
                sample += self._events([frame for frame in frames if frame.type not in _ENDS], None)[0]
                if frames and frames[-1].type in _ENDS:
                    break
        return sample[:most]


class PlaceField:
    """Takes a text or a whole number from one field of a message."""

    def __init__(self, field: str) -> None:
        shape = msgspec.defstruct("_Place", [("value", str | int, msgspec.field(name=field))])
        self._decode = msgspec.json.Decoder(shape).decode

    def of(self, data: bytes) -> str | int | None:
        """The value, or None where there is none."""
        try:
            value: str | int = self._decode(data).value  # type: ignore[attr-defined]
        except Exception:  # hostile data raises outside msgspec's own errors too
            return None
        return value


def _inbox(socket: ClientWebSocketResponse[bool]) -> Inbox[Frame]:
    return Inbox[Frame](socket.receive, lambda frame: frame.type in _ENDS)


def _with_position(message: Any, position: str | int) -> Any:
    """`message` with `position` in the place of every "$position"."""
    if isinstance(message, dict):
        return {key: _with_position(value, position) for key, value in message.items()}
    if isinstance(message, list):
        return [_with_position(value, position) for value in message]
    return position if message == PLACEHOLDER else message

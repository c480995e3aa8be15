"""What a tap writes → events and positions: lines are gathered into batches that end where a STATE message says so."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, TypeAlias

import msgspec

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, SourceEvent, SourcePosition, refuse
from connectors.field_id import FieldId

BATCH_BYTES = 4_194_304
"""A batch ends early when its records have so many bytes."""


class SingerPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The value of the tap's last STATE message, which only the tap understands."""

    state: dict[str, Any]


SingerBatch: TypeAlias = tuple[list[SourceEvent], SingerPosition | None]


class Gathering:
    """The records of one run that were not handed on yet. Taps write STATE often, so a batch may hold many of them.

    A batch goes as far as the last STATE and comes with it, so that reading goes on right after the batch.
    """

    def __init__(self, stream: str, id_field: str | None, most: int, after: SingerPosition | None) -> None:
        """`most`: events in a batch; `after`: where the run began."""
        self._translate = _Translator(stream, id_field)
        self._most = most
        self._position = after
        self._state: msgspec.Raw | None = None
        self._events: list[SourceEvent] = []
        self._covered = 0
        self._bytes = 0

    def add(self, line: bytes) -> bool:
        """One line of the tap; whether a batch is full. Raises ConfigError for what is no Singer message."""
        event = self._translate(line)
        if isinstance(event, SourceEvent):
            self._events.append(event)
            self._bytes += len(event.data)
        elif event is not None:
            self._state, self._covered = event, len(self._events)
        return len(self._events) > self._most or self._bytes >= BATCH_BYTES

    @property
    def covered(self) -> bool:
        """Whether there are records that need not be read again after the last STATE."""
        return self._covered > 0

    @property
    def records(self) -> int:
        """RECORD messages of the stream that the tap wrote, but for those that were not handed on yet."""
        return self._translate.records - len(self._events)

    def take(self) -> SingerBatch:
        """What the last STATE covers, with it. Where it covers nothing: all, which comes again after a crash."""
        count = self._covered or min(len(self._events), self._most)
        events, self._events = self._events[:count], self._events[count:]
        self._covered = 0
        self._bytes = sum(len(event.data) for event in self._events)
        self._position = self._reached()
        return events, self._position

    def take_to_state(self) -> list[SingerBatch]:
        """What the last STATE covers when the run has failed, so that the next one goes on from there."""
        return [self.take()] if self._covered or self._reached() != self._position else []

    def take_rest(self) -> list[SingerBatch]:
        """Everything, when the run has ended well."""
        batches = self.take_to_state()
        return [*batches, self.take()] if self._events else batches

    def _reached(self) -> SingerPosition | None:
        if self._state is None:
            return self._position
        try:
            return SingerPosition(state=msgspec.json.decode(self._state, type=dict[str, Any] | None) or {})
        except Exception:  # hostile data raises outside msgspec's own errors too
            raise ConfigError("The value of the tap's last STATE message is no object: is it a Singer tap?") from None


class _Message(msgspec.Struct, frozen=True):
    """A line of a tap, as far as it concerns us. A STATE's value may be large, and few are needed: it stays raw."""

    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")
    value: msgspec.Raw = msgspec.Raw(b"{}")
    key_properties: list[str] | None = None


class _Translator:
    """Turns the lines of one run into events and states."""

    def __init__(self, stream: str, id_field: str | None) -> None:
        self._stream = stream
        self._id = None if id_field is None else FieldId(id_field)
        self._decode = msgspec.json.Decoder(_Message).decode
        self._keyed = False
        self._seen: Counter[bytes] = Counter()
        self._lines = 0
        self.records = 0

    def __call__(self, line: bytes) -> SourceEvent | msgspec.Raw | None:
        """The event of a RECORD; the value of a STATE. Raises ConfigError for what is no Singer message."""
        self._lines += 1
        try:
            message = self._decode(line)
        except Exception:  # hostile data raises outside msgspec's own errors too
            raise ConfigError(
                f"Line {self._lines} of the tap is no Singer message: a tap may write nothing else to its output."
            ) from None
        if message.type == "RECORD" and message.stream == self._stream:
            self.records += 1
            return self._event(bytes(message.record))
        if message.type == "STATE":
            self._seen.clear()  # reading goes on after any STATE, with the same ids
            return message.value
        if message.type == "SCHEMA" and message.stream == self._stream:
            self._keyed = bool(message.key_properties)
        elif message.type == "BATCH":
            raise ConfigError("The tap writes BATCH messages, which we do not read: take `batch_config` out.")
        return None

    def _event(self, record: bytes) -> SourceEvent:
        event_id = (None if self._id is None else self._id.of(record)) or self._hash(record)
        return refuse(event_id, len(record), record) if len(record) > EVENT_LIMIT else SourceEvent(event_id, record)

    def _hash(self, record: bytes) -> str:
        digest = hashlib.blake2b(record, digest_size=16).digest()
        event_id = digest.hex()
        if not self._keyed:
            self._seen[digest] += 1
            if self._seen[digest] > 1:
                event_id += f"/{self._seen[digest]}"
        return event_id

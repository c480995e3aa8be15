"""Any Singer tap as a source: its RECORD messages become events, its STATE messages positions."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from clearwell.errors import ConfigError, nearest
from clearwell.settings import home_folder
from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    Batch,
    DiscoveredStream,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    refuse,
)
from connectors.file_ndjson import FieldId
from connectors.samples import json_objects
from connectors.singer_catalog import contract_types, selected, stream_names
from connectors.singer_tap import Tap
from connectors.singer_venv import executable

SAMPLE = 100
SAMPLE_SECONDS = 30.0


class SingerConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tap to run, and how.

    tap: the tap's command, such as `tap-github`; CLEARWELL_TAPS must allow it. pip: a pip requirement, such as
    `meltanolabs-tap-postgres==0.10.0`, to install it from, into a virtual environment of its own; without it the
    command must be on the PATH. config: the tap's own settings; write secrets as references.
    stream: the one of the tap's streams to read; `clearwell connector discover` lists them. A tap's stream goes into
    one of ours, so that each has its contract: register a connector for each. id_field: the field whose value is an
    event's id, for records that change while their id should not, such as by the time when the tap read them.
    every: seconds after which to run the tap again; left out, reading ends when the tap does.
    patience: seconds without any message after which a tap is ended. batch_events: records taken together.

    A record is an event as the tap wrote it. The tap's last STATE message is where it goes on: what it wrote since then
    comes again after a crash. Without `id_field` an event's id is made of the whole record, so that it comes again with
    the same one; of equal records of a stream without keys, it also holds which one since the last STATE it is.
    """

    tap: str
    stream: str
    id_field: str | None = None
    pip: str | None = None
    config: dict[str, Any] = {}
    every: Annotated[float, msgspec.Meta(gt=0)] | None = None
    patience: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    batch_events: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5_000

    def __repr__(self) -> str:  # invariant 10: `config` may hold anything
        return f"SingerConfig(tap={self.tap!r}, stream={self.stream!r})"


class SingerPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The value of the tap's last STATE message, which only the tap understands."""

    state: dict[str, Any]


class SingerSource:
    """Runs any Singer tap as a process and reads what it writes."""

    name: ClassVar[str] = "singer"
    Config: ClassVar[type[SourceConfig]] = SingerConfig
    Position: ClassVar[type[SourcePosition]] = SingerPosition

    def __init__(self, config: SingerConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._closed = asyncio.Event()

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field; without one an id is a hash of the record."""
        return (self._config.id_field or "*",)

    def check(self) -> None:
        """Install the tap where that is asked for, and prove that it offers the stream."""
        self._catalog()

    def discover(self) -> list[DiscoveredStream]:
        """Every stream the tap offers, with the types its schema says; sample records of the one to read."""
        command, catalog = self._catalog()
        sample = asyncio.run(self._sample(command, catalog))
        return [
            DiscoveredStream(name, contract_types(catalog, name), sample if name == self._config.stream else ())
            for name in stream_names(catalog)
        ]

    async def read(self, after: SingerPosition | None) -> AsyncIterator[Batch]:
        """Batches of records; ends with the tap, unless `every` is set.

        Raises ConfigError for a tap that writes what is no Singer message, Retryable for one that fails.
        """
        command, catalog = await asyncio.to_thread(self._catalog)
        position = after
        while not self._closed.is_set():
            async with aclosing(self._run(command, catalog, position)) as run:
                async for events, position in run:
                    yield events, position
            if self._config.every is None:
                return
            again = time.monotonic() + self._config.every
            while (left := again - time.monotonic()) > 0 and not self._closed.is_set():
                await self._pause(left)
                yield [], position

    async def close(self) -> None:
        """Do not run the tap again. A running one is ended when reading is."""
        self._closed.set()

    def between(self, old: SingerPosition | None, new: SingerPosition | None) -> str:
        """Only the tap can tell."""
        if new is None:
            return f"{self._config.tap} would read {self._config.stream} from its beginning again."
        return f"{self._config.tap} would go on from the given state; only the tap knows what lies between."

    async def _pause(self, seconds: float) -> None:
        """Wait for `seconds`, but at most as long as a source may be silent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, HEARTBEAT_SECONDS / 2)):
                await self._closed.wait()

    def _catalog(self) -> tuple[Path, dict[str, Any]]:
        """The tap's command, and its catalog with the one stream selected."""
        command = executable(self._config.tap, self._config.pip, home_folder())
        tap = Tap(command, self._config.config, self._config.patience)
        catalog = tap.discover()
        known = stream_names(catalog)
        if self._config.stream not in known:
            hint = nearest(self._config.stream, known) or f" It offers: {', '.join(known) or 'none'}."
            raise ConfigError(f'The tap {self._config.tap} has no stream "{self._config.stream}".{hint}')
        return command, selected(catalog, self._config.stream)

    async def _run(
        self, command: Path, catalog: dict[str, Any], after: SingerPosition | None
    ) -> AsyncGenerator[tuple[list[SourceEvent], SingerPosition | None], None]:
        """One run of the tap."""
        tap = Tap(command, self._config.config, self._config.patience)
        translate = _Translator(self._config.stream, self._config.id_field)
        position, events, spoke = after, list[SourceEvent](), time.monotonic()
        async with tap.running(catalog, None if after is None else after.state) as messages:
            async for message in messages:
                state = None if message is None else translate(message, events)
                if state is not None:
                    position = SingerPosition(state=state)
                silent = time.monotonic() - spoke >= HEARTBEAT_SECONDS / 2
                if (state is not None and events) or len(events) >= self._config.batch_events or silent:
                    yield events, position
                    events, spoke = [], time.monotonic()
        if events or position != after:
            yield events, position

    async def _sample(self, command: Path, catalog: dict[str, Any]) -> tuple[Mapping[str, Any], ...]:
        found: list[SourceEvent] = []
        async with aclosing(self._run(command, catalog, None)) as run:
            with suppress(TimeoutError):  # a slow tap: what came in time is the sample
                async with asyncio.timeout(SAMPLE_SECONDS):
                    async for events, _ in run:
                        found += events
                        if len(found) >= SAMPLE:
                            break
        return json_objects(found[:SAMPLE])


class _Message(msgspec.Struct, frozen=True):
    """A line of a tap, as far as it concerns us."""

    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")
    value: dict[str, Any] | None = None
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

    def __call__(self, line: bytes, events: list[SourceEvent]) -> dict[str, Any] | None:
        """Append the event of a RECORD; the value of a STATE. Raises ConfigError for what is no Singer message."""
        self._lines += 1
        try:
            message = self._decode(line)
        except Exception:  # hostile data raises outside msgspec's own errors too
            raise ConfigError(
                f"Line {self._lines} of the tap is no Singer message: a tap may write nothing else to its output."
            ) from None
        if message.type == "RECORD" and message.stream == self._stream:
            events.append(self._event(bytes(message.record)))
        elif message.type == "SCHEMA" and message.stream == self._stream:
            self._keyed = bool(message.key_properties)
        elif message.type == "STATE":
            self._seen.clear()
            return message.value or {}
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

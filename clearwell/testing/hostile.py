"""A source that breaks what a source must keep, one obligation a switch: to test suites, collectors and watchers with.

With `fault: none` it keeps every obligation, and can be read as an example.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from clearwell.errors import ConfigError, Retryable
from clearwell.source import (
    EVENT_LIMIT,
    HEARTBEAT_SECONDS,
    PATH,
    SECRET,
    Batch,
    BatchEvents,
    Count,
    DiscoveredStream,
    SourceConfig,
    SourceEvent,
    SourcePosition,
    refuse,
)

log = logging.getLogger(__name__)
ACCEPTED = "swordfish"
_RUNS = itertools.count(1)
_LEFT: list[Any] = []


class Fault(StrEnum):
    """What is broken; one at a time."""

    NONE = "none"
    UNSTABLE_IDS = "unstable ids"
    SAME_IDS = "same ids"
    LOSES_LAST = "loses the last event"
    REPEATS = "repeats an event"
    REORDERS = "reorders events"
    POSITION_AHEAD = "position ahead"
    POSITION_BEHIND = "position behind"
    POSITION_FORGOTTEN = "position forgotten"
    POSITION_FOREIGN = "position foreign"
    STUMBLES = "stumbles over bad data"
    DROPS_BAD_DATA = "drops bad data"
    REVEALS_IN_ERRORS = "raises the secret"
    REVEALS_IN_LOGS = "logs the secret"
    REVEALS_IN_REPR = "shows the secret"
    RAISES_FOREIGN = "raises a foreign error"
    PASSES_CHECK = "passes every check"
    RAISES_MIDWAY = "raises midway"
    RETRIES_FOR_EVER = "retries for ever"
    UNTYPED = "discovers unknown types"
    SWALLOWS_CANCELLATION = "swallows cancellation"
    IGNORES_CANCELLATION = "ignores cancellation"
    LEAVES_TASK = "leaves a task"
    LEAVES_SOCKET = "leaves a socket"
    HANGS_IN_CLOSE = "hangs in close"
    CLOSES_ONCE = "closes only once"
    MISCOUNTS = "counts fewer than it reads"
    SILENT = "silent for ever"


class HostileConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lines of a file, badly read."""

    path: Annotated[str, PATH, msgspec.Meta(description="the file, an event a line.")]
    fault: Annotated[Fault, msgspec.Meta(description="what is broken.")] = Fault.NONE
    password: Annotated[str, SECRET, msgspec.Meta(description="what the pretended server asks for.")] = ACCEPTED
    endless: Annotated[bool, msgspec.Meta(description="wait for more lines after the last.")] = False
    batch_events: BatchEvents = 4

    def __repr__(self) -> str:  # invariant 10
        return f"HostileConfig(path={self.path!r}, fault={self.fault.value!r})"


class HostilePosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`line` counts the lines read."""

    line: Annotated[int, msgspec.Meta(ge=0)]


class ForeignPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No position of this source."""

    elsewhere: int = 0


class HostileSource:
    """Reads lines, and breaks one obligation."""

    name: ClassVar[str] = "hostile"
    Config: ClassVar[type[SourceConfig]] = HostileConfig
    Position: ClassVar[type[SourcePosition]] = HostilePosition

    def __init__(self, config: HostileConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._fault = config.fault
        self._run = next(_RUNS)
        self._items = 0
        self._closed = False

    def __repr__(self) -> str:
        shown = self._config.password if self._fault is Fault.REVEALS_IN_REPR else self._fault.value
        return f"HostileSource({shown})"

    @property
    def id_fields(self) -> tuple[str, ...]:
        """Ids are line numbers."""
        return ()

    def check(self) -> None:
        """Whether file and password are right."""
        wrong = self._config.password != ACCEPTED
        if self._fault is Fault.REVEALS_IN_LOGS:
            log.debug("logging in with %s", self._config.password)
        if self._fault is Fault.REVEALS_IN_ERRORS and wrong:
            raise ConfigError(f"The password {self._config.password} is wrong: mend it.")
        if self._fault is Fault.RAISES_FOREIGN and wrong:
            raise ValueError("wrong password")
        if self._fault is Fault.PASSES_CHECK:
            return
        if wrong:
            raise ConfigError("The password is wrong: set `password` right.")
        self._lines()

    def discover(self) -> list[DiscoveredStream]:
        """One stream of three fields."""
        text = "varchar" if self._fault is Fault.UNTYPED else "string"
        return [DiscoveredStream("hostile", {"id": text, "at": "timestamp", "n": "int64"})]

    async def read(self, after: HostilePosition | None) -> AsyncIterator[Batch]:
        """Batches of lines; ends after the last, or waits for more when `endless` is set."""
        await asyncio.to_thread(self.check)
        self._leave_something()
        forgotten = after is None or self._fault is Fault.POSITION_FORGOTTEN
        line, spoke = 0 if forgotten or after is None else after.line, time.monotonic()
        while not self._closed:
            lines = await asyncio.to_thread(self._lines)
            events = self._events(lines, line)
            if events or time.monotonic() - spoke >= HEARTBEAT_SECONDS:
                there = min(line + self._config.batch_events, len(lines))
                self._items, line = self._items + there - line, there
                yield self._broken(events), self._position(line)
                spoke = time.monotonic()
                self._fail_midway()
            elif not self._config.endless or await self._wait():
                return

    def count(self) -> Count:
        """The lines read."""
        return Count(max(0, self._items - (self._fault is Fault.MISCOUNTS)))

    async def close(self) -> None:
        """Stop waiting for lines."""
        if self._fault is Fault.HANGS_IN_CLOSE:
            await asyncio.Event().wait()
        if self._fault is Fault.CLOSES_ONCE and self._closed:
            raise RuntimeError("closed already")
        self._closed = True

    def _lines(self) -> list[bytes]:
        try:
            lines = Path(self._config.path).read_bytes().split(b"\n")[:-1]
        except OSError:
            raise ConfigError("The file can't be read: set `path` right.") from None
        return lines[:-1] if self._fault is Fault.LOSES_LAST else lines

    def _events(self, lines: list[bytes], start: int) -> list[SourceEvent]:
        wanted = enumerate(lines[start : start + self._config.batch_events], start)
        return [event for number, data in wanted for event in self._made(number, data)]

    def _made(self, number: int, data: bytes) -> list[SourceEvent]:
        """The events of a line: one."""
        if self._fault in (Fault.STUMBLES, Fault.DROPS_BAD_DATA):
            try:
                msgspec.json.decode(data)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                if self._fault is Fault.STUMBLES:
                    raise
                return []
        event_id = f"line-{number}"
        if self._fault is Fault.UNSTABLE_IDS:
            event_id += f"-{os.getpid()}-{self._run}"
        if self._fault is Fault.SAME_IDS:
            event_id = "line"
        event = refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)
        return [event, event] if self._fault is Fault.REPEATS and number == 1 else [event]

    def _broken(self, events: list[SourceEvent]) -> list[SourceEvent]:
        return events[::-1] if self._fault is Fault.REORDERS else events

    def _position(self, line: int) -> SourcePosition:
        if self._fault is Fault.POSITION_FOREIGN:
            return ForeignPosition()
        ahead = {Fault.POSITION_AHEAD: 1, Fault.POSITION_BEHIND: -1}.get(self._fault, 0)
        return HostilePosition(line=line + ahead)

    def _fail_midway(self) -> None:
        if self._fault is Fault.RAISES_MIDWAY:
            raise KeyError("midway")
        if self._fault is Fault.RETRIES_FOR_EVER:
            raise Retryable("The pretended server is down; trying again.")

    def _leave_something(self) -> None:
        if self._fault is Fault.LEAVES_TASK:
            _LEFT.append(asyncio.get_running_loop().create_task(asyncio.sleep(3600), name="left behind"))
        if self._fault is Fault.LEAVES_SOCKET:
            _LEFT.append(socket.socket())

    async def _wait(self) -> bool:
        """Wait for lines; True when cancellation ended that without being passed on."""
        try:
            await asyncio.sleep(3600 if self._fault is Fault.SILENT else 0.05)
        except asyncio.CancelledError:
            if self._fault is Fault.SWALLOWS_CANCELLATION:
                return True
            if self._fault is not Fault.IGNORES_CANCELLATION:
                raise
        return False


class LaxConfig(SourceConfig, frozen=True, forbid_unknown_fields=False, kw_only=True):
    """Takes unknown keys, and does not tell of `path`."""

    path: Annotated[str, PATH]


class LaxSource(HostileSource):
    """Its configuration breaks what a configuration must keep."""

    name: ClassVar[str] = "lax"
    Config: ClassVar[type[SourceConfig]] = LaxConfig

"""Server-sent events out of a stream of bytes, as the HTML standard has it (9.2.6), without decoding their data."""

from __future__ import annotations

import re
from typing import NamedTuple

from clearwell.source import EVENT_LIMIT

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_KEPT = EVENT_LIMIT + 16
"""Bytes of a line that are kept, the name of its field included; of the rest only the number is known."""


class ServerSentEvent(NamedTuple):
    """`data` has `size` bytes, and is cut when these are over EVENT_LIMIT.

    `last_id` is the last event id so far ("" where there is none), `nth` how many messages came without an id of their
    own since then: 0 for the one that named it.
    """

    type: str
    data: bytes
    size: int
    last_id: str
    nth: int


class Parser:
    """Takes bytes in any portions. `retry` holds the seconds that the server asked for before reconnecting."""

    def __init__(self, last_id: str = "") -> None:
        self.retry: float | None = None
        self._last_id = last_id
        self._nth = 0
        self._named = False
        self._line, self._line_size = bytearray(), 0
        self._begun = False
        self._after_cr = False
        self._clear()

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The messages that `chunk` completes."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
        if chunk:
            self._after_cr = chunk[-1:] == b"\r"
        messages = []
        *ended, rest = _LINE_END.split(chunk)
        for part in ended:
            self._extend(part)
            message = self._end_line()
            if message is not None:
                messages.append(message)
        self._extend(rest)
        return messages

    def _extend(self, part: bytes) -> None:
        self._line_size += len(part)
        self._line += part[: max(_KEPT - len(self._line), 0)]

    def _end_line(self) -> ServerSentEvent | None:
        line, cut = bytes(self._line), self._line_size - len(self._line)
        self._line.clear()
        self._line_size = 0
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        self._take(name, value.removeprefix(b" "), cut)
        return None

    def _take(self, name: bytes, value: bytes, cut: int) -> None:
        """A field; `cut` bytes of its value are missing."""
        if name == b"data":
            if self._size <= EVENT_LIMIT:
                self._data.append(value)
            self._size += len(value) + cut + 1
        elif name == b"id" and b"\0" not in value and not cut:
            self._last_id = value.decode(errors="backslashreplace")
            self._named = True
        elif name == b"event":
            self._type = value.decode(errors="backslashreplace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value) / 1_000

    def _dispatch(self) -> ServerSentEvent | None:
        self._nth = 0 if self._named else self._nth + (1 if self._size else 0)
        self._named = False
        message = None
        if self._size:
            data = b"\n".join(self._data)
            message = ServerSentEvent(self._type or "message", data, self._size - 1, self._last_id, self._nth)
        self._clear()
        return message

    def _clear(self) -> None:
        self._data: list[bytes] = []
        self._size = 0
        self._type = ""

"""JSON that is no line a value: an array whose elements are the records, or values that span lines; in bounded memory.

Nothing is decoded here: a record is the bytes between what separates it from others, and the cleaner judges it.
"""

from __future__ import annotations

import json
import re

import msgspec

from clearwell.source import EVENT_LIMIT, NOTE_HEAD, SourceEvent, refuse
from connectors.field_id import FieldId
from connectors.file.content import Content
from connectors.file.ndjson import BOM

BLOCK = 1_048_576
"""Bytes read at once."""

_BATCH_BYTES = 4_194_304
_SPACES = re.compile(rb"[ \t\r\n]*+")
_SPACE = re.compile(rb"[ \t\r\n]")
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_scan = json.JSONDecoder(strict=False).scan_once  # type: ignore[attr-defined]
"""The quick way to the end of a value: (text, index) → (value, end)."""

_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def is_a_line_a_value(content: Content) -> bool:
    """Whether JSON, read from its beginning, has a value a line: no array comes first, and no value spans lines."""
    head = content.read(EVENT_LIMIT).removeprefix(BOM).lstrip()
    if head.startswith(b"["):
        return False
    line = head.splitlines()[0].rstrip() if head else b""
    try:
        msgspec.json.decode(line)
    except Exception:  # hostile data raises outside msgspec's own errors too (RecursionError, UnicodeDecodeError)
        return not line.endswith((b"{", b"[", b","))  # where printers break a value
    return True


class JsonReader:
    """Makes events of the values at the top, and of the elements of arrays there.

    An offset is that after a value: what follows there says whether it was an element. All numbers are such offsets.
    """

    def __init__(self, file: str, content: Content, id_field: str | None, offset: int = 0) -> None:
        """Takes `content` over."""
        self._file = file
        self._content = content
        self._id = None if id_field is None else FieldId(id_field)
        self._buffer = b""
        self._text = ""  # the buffer, a character a byte
        self._base = self._at = offset
        self.items = 0
        """Records whose end was seen."""
        content.skip_to(offset)
        if offset:
            self._inside = self._peek() in (b",", b"]")
        else:
            self._inside = False
            while len(self._buffer) < len(BOM) and self._more(0):
                pass
            self._at = len(BOM) if self._buffer.startswith(BOM) else 0

    def close(self) -> None:
        """Close the content."""
        self._content.close()

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them. Raises EOFError when an array or value does not end."""
        events: list[SourceEvent] = []
        size = 0
        while len(events) < count and size < _BATCH_BYTES:
            try:
                event = self._event()
            except EOFError:
                if events:
                    break  # the next batch raises it again
                raise
            if event is None:
                break
            size += len(event.data)
            events.append(event)
        return events, self._at

    def _event(self) -> SourceEvent | None:
        before = self._at, self._inside
        while byte := self._peek():
            if byte == b"[" and not self._inside:
                self._inside = True
            elif byte == b"]":
                self._inside = False
            elif byte != b",":
                return self._value()
            self._at += 1
        if self._inside:
            self._at, self._inside = before
            raise EOFError
        return None

    def _value(self) -> SourceEvent:
        start = self._at
        end, head = self._end_of_object(start), None
        if end is None:
            end, head = self._end_of_value(start)
        self._at = end
        self.items += 1
        event_id = f"{self._file}#{start}"
        data = head if head is not None else self._buffer[start - self._base : end - self._base].rstrip()
        if end - start > EVENT_LIMIT and (head is not None or len(data) > EVENT_LIMIT):
            return refuse(event_id, end - start, data)
        if self._id is not None:
            event_id = self._id.of(data) or event_id
        return SourceEvent(event_id, data)

    def _end_of_object(self, start: int) -> int | None:
        """Where an object or array ends that is whole in the buffer, and well formed."""
        if self._byte(start) not in (b"{", b"["):
            return None
        try:
            return self._base + int(_scan(self._text, start - self._base)[1])
        except (StopIteration, ValueError, RecursionError):
            return None

    def _end_of_value(self, start: int) -> tuple[int, bytes | None]:
        """Where the value ends that begins at `start`; and how it begins, if it is too long to be kept."""
        first = self._byte(start)
        word = not self._inside and first not in (b"{", b"[", b'"')
        head: bytes | None = None
        depth, scan, in_string = 0, start, False
        while True:
            pattern = _REST_OF_STRING if in_string else _SPACE if word else _STRUCTURE
            token = (
                pattern.match(self._buffer, scan - self._base)
                if in_string
                else pattern.search(self._buffer, scan - self._base)
            )
            if token is None or (token[0] == b'"' and not in_string):
                scan = self._base + (token.end() if token else self._unscanned(in_string))
                in_string = in_string or token is not None
                if head is None and scan - start > EVENT_LIMIT:
                    head = self._buffer[start - self._base : start - self._base + NOTE_HEAD]
                if not self._more((scan if head is not None else start) - self._base):
                    if word:
                        return self._base + len(self._buffer), head
                    raise EOFError
                continue
            scan = self._base + token.end()
            kind = b'"' if in_string else token[0][:1]
            in_string = False
            if kind in (b"{", b"["):
                depth += 1
            elif kind in (b"}", b"]") and depth:
                depth -= 1
                if not depth:
                    return scan, head
            elif not depth and (kind in (b",", b"]") or word):
                return scan - 1, head
            elif not depth and kind == b'"' and first == b'"':
                return scan, head

    def _unscanned(self, in_string: bool) -> int:
        """Where in the buffer to go on once there is more: a backslash at its end belongs to what comes."""
        whole = len(self._buffer)
        return whole - (whole - len(self._buffer.rstrip(b"\\"))) % 2 if in_string else whole

    def _byte(self, at: int) -> bytes:
        return self._buffer[at - self._base : at - self._base + 1]

    def _peek(self) -> bytes:
        """The next byte that is no white space, at which reading then stands; nothing at the end."""
        while True:
            spaces = _SPACES.match(self._buffer, self._at - self._base)
            self._at = self._base + (spaces.end() if spaces else 0)
            if self._at < self._base + len(self._buffer):
                return self._byte(self._at)
            if not self._more(self._at - self._base):
                return b""

    def _more(self, keep: int) -> bool:
        """Read on; what is before `keep` in the buffer goes. False at the end."""
        block = self._content.read1(BLOCK)
        if not block:
            return False
        self._buffer = self._buffer[keep:] + block
        self._text = self._buffer.decode("latin-1")
        self._base += keep
        return True

"""CSV (RFC 4180, with a header row): rows become JSON objects; a row that is none is refused and the next is read."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from clearwell.errors import ConfigError, nearest
from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent, refuse
from connectors.file.lines import Line, Lines, is_overlong
from connectors.file.ndjson import BOM

_INT = re.compile(r"-?\d{1,18}\Z", re.ASCII)
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,3})?\Z", re.ASCII)
_BOOLS = {"true": True, "false": False, "TRUE": True, "FALSE": False, "True": True, "False": False}
_BATCH_BYTES = 4_194_304


def _int(text: str) -> int | str:
    return int(text) if _INT.match(text) else text


def _float(text: str) -> float | str:
    return float(text) if _FLOAT.match(text) else text


def _bool(text: str) -> bool | str:
    return _BOOLS.get(text, text)


CONVERT: Mapping[str, Callable[[str], Any]] = {"string": str, "int": _int, "float": _float, "bool": _bool}
"""A value that is not of its column's type stays a string: the cleaner rejects it with the right reason."""


class CsvReader:
    """Makes events of rows."""

    def __init__(self, file: str, rows: Rows, header: list[str], columns: Mapping[str, str], id_field: str | None):
        self._file = file
        self._rows = rows
        self._header = header
        self._convert = [CONVERT[columns.get(name, "string")] for name in header]
        self._id = None if id_field is None else header.index(id_field)

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; no events at the end of the file."""
        events: list[SourceEvent] = []
        size = 0
        while len(events) < count and size < _BATCH_BYTES:
            found = self._rows.next()
            if found is None:
                break
            event = self._event(*found)
            size += len(event.data)
            events.append(event)
        return events, self._rows.end

    def _event(self, start: int, row: list[str] | Refusal | None, raw: bytes) -> SourceEvent:
        event_id = f"{self._file}#{start}"
        if row is None:
            return refuse(event_id, self._rows.end - start - 1, raw)
        if isinstance(row, Refusal):
            return SourceEvent(event_id, raw, row)
        if len(row) != len(self._header):
            return SourceEvent(event_id, raw, Refusal.ROW_WIDTH)
        if self._id is not None:
            event_id = row[self._id] or event_id
        values = {
            name: convert(text) if text else None
            for name, convert, text in zip(self._header, self._convert, row, strict=True)
        }
        data = msgspec.json.encode(values)
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)


class Rows:
    """Splits lines into rows; a row may span lines inside quotes."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._ahead: deque[Line] = deque()
        self.end = 0
        csv.field_size_limit(max(csv.field_size_limit(), EVENT_LIMIT))

    def next(self) -> tuple[int, list[str] | Refusal | None, bytes] | None:
        """Where the row starts, its values (Refusal: why it is none; None: too long), its bytes. None at the end."""
        line = self._pull()
        while line is not None and not line[1].strip():
            line = self._pull()
        if line is None:
            return None
        start, data, self.end = line
        if is_overlong(line):
            return start, None, data
        if not start and data.startswith(BOM):
            data = data[3:]
        data = data.removesuffix(b"\r")
        try:
            if b'"' not in data:
                return start, data.decode().split(","), data
            return self._quoted(start, data)
        except UnicodeDecodeError:
            return start, Refusal.NOT_UTF8, data

    def _quoted(self, start: int, data: bytes) -> tuple[int, list[str] | Refusal, bytes]:
        more: list[Line] = []
        try:
            row = next(csv.reader(self._texts(data, more), strict=True))
        except (csv.Error, UnicodeDecodeError):
            row = None
        if row is None:  # the quotes of the first line are wrong: it alone is refused, what follows is read afresh
            self._ahead.extendleft(reversed(more))
            return start, Refusal.QUOTES, data
        if more:
            self.end = more[-1][2]
        return start, row, b"\n".join([data, *(line[1] for line in more)])

    def _texts(self, first: bytes, more: list[Line]) -> Iterator[str]:
        yield first.decode() + "\n"
        size = len(first)
        while size <= EVENT_LIMIT:
            line = self._pull()
            if line is None:
                return
            more.append(line)
            if is_overlong(line):
                return
            size += len(line[1])
            yield line[1].removesuffix(b"\r").decode() + "\n"

    def _pull(self) -> Line | None:
        if not self._ahead:
            self._ahead.extend(self._lines.take(1_000))
        return self._ahead.popleft() if self._ahead else None


def read_header(rows: Rows, file: str) -> list[str]:
    """The names in the first of `rows`. Raises ConfigError when there is none, or a name is empty or twice there."""
    found = rows.next()
    if found is None:
        raise ConfigError(f"{file} is empty: a CSV file needs a header row.")
    header = found[1]
    if not isinstance(header, list):
        raise ConfigError(f"The header row of {file} cannot be read: {header or 'it is too long'}.")
    doubled = sorted({name for name in header if header.count(name) > 1 or not name})
    if doubled:
        raise ConfigError(f"The header row of {file} has an empty or repeated name: {doubled[0]!r}.")
    return header


def require_columns(header: list[str], wanted: list[str], file: str) -> None:
    """Raises ConfigError with the nearest spelling when a wanted column is not in the header."""
    for name in wanted:
        if name not in header:
            raise ConfigError(f'{file} has no column "{name}".{nearest(name, header)}')

"""NDJSON: one event a line, passed on untouched; the cleaner judges, not the source."""

from __future__ import annotations

from clearwell.source import EVENT_LIMIT, SourceEvent, refuse
from connectors.field_id import FieldId
from connectors.file.lines import Line, Lines, is_overlong

BOM = b"\xef\xbb\xbf"


class NdjsonReader:
    """Makes events of lines."""

    def __init__(self, file: str, lines: Lines, id_field: str | None) -> None:
        self._file = file
        self._lines = lines
        self._id = None if id_field is None else FieldId(id_field)
        self._offset = 0
        self.items = 0
        """Lines that were read, but for empty ones."""

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; no events at the end of the file."""
        events: list[SourceEvent] = []
        while not events:
            lines = self._lines.take(count)
            if not lines:
                break
            self.items += sum(not line[1].isspace() for line in lines)
            if not lines[0][0] and not lines[0][1].removeprefix(BOM).strip() and not lines[0][1].isspace():
                self.items -= 1  # a byte order mark alone
            for line in lines:
                event = self._event(line)
                if event is not None:
                    events.append(event)
            self._offset = lines[-1][2]
        return events, self._offset

    def _event(self, line: Line) -> SourceEvent | None:
        start, data, end = line
        event_id = f"{self._file}#{start}"
        if is_overlong(line):
            return refuse(event_id, end - start - 1, data)
        if not start and data.startswith(BOM):
            data = data[3:]
        data = data.rstrip(b"\r\n")
        if not data or data.isspace():
            return None
        if len(data) > EVENT_LIMIT:
            return refuse(event_id, len(data), data)
        if self._id is not None:
            event_id = self._id.of(data) or event_id
        return SourceEvent(event_id, data)

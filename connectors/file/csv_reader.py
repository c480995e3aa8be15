"""CSV (RFC 4180, with a header row): rows become JSON objects; a row that is none is refused and the next is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent, refuse
from connectors.file.csv_rows import CsvRows

_INT = re.compile(r"[+-]?\d{1,40}\Z", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?\Z", re.ASCII)
_BOOLS = {"true": True, "false": False, "TRUE": True, "FALSE": False, "True": True, "False": False}
_LONGEST_NUMBER = 400
_BATCH_BYTES = 4_194_304


def _int(text: str) -> int | str:
    if _INT.match(text):
        value = int(text)
        if -(2**63) <= value < 2**63:
            return value
    return text


def _float(text: str) -> float | str:
    if len(text) <= _LONGEST_NUMBER and _FLOAT.match(text):
        value = float(text)
        if math.isfinite(value):
            return value
    return text


def _bool(text: str) -> bool | str:
    return _BOOLS.get(text, text)


CONVERT: Mapping[str, Callable[[str], Any]] = {"string": str, "int": _int, "float": _float, "bool": _bool}
"""A value that is not of its column's type, or too large for it, stays a string: the cleaner says why it is none."""


@dataclass(frozen=True, slots=True)
class CsvForm:
    """What the columns are, and which of them is the id."""

    columns: Mapping[str, str] = field(default_factory=dict)
    id_field: str | None = None


class CsvReader:
    """Makes events of rows."""

    def __init__(self, file: str, rows: CsvRows, form: CsvForm, header: list[str] | None = None) -> None:
        """`header`: the names, where reading goes on after them."""
        self._file, self._rows, self._form = file, rows, form
        self.header: list[str] = []
        self._before = 0
        if header is not None:
            self._begin(header)

    @property
    def items(self) -> int:
        """Rows that were read after the header."""
        return self._rows.read - self._before

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; no events at the end of the file.

        Raises ConfigError when the first row is no header.
        """
        if not self.header:
            first = read_header(self._rows, self._file)
            if first is None:
                return [], 0
            self._before = self._rows.read
            self._begin(first)
        events: list[SourceEvent] = []
        size = 0
        while len(events) < count and size < _BATCH_BYTES:
            taken = self._rows.next()
            if taken is None:
                break
            event = self._event(*taken)
            size += len(event.data)
            events.append(event)
        return events, self._rows.end

    def _begin(self, header: list[str]) -> None:
        form = self._form
        _require_columns(header, [*form.columns, *([form.id_field] if form.id_field else [])], self._file)
        self._convert = [CONVERT[form.columns.get(name, "string")] for name in header]
        self._id = None if form.id_field is None else header.index(form.id_field)
        self.header = header

    def _event(self, start: int, row: list[str] | Refusal | None, raw: bytes) -> SourceEvent:
        event_id = f"{self._file}#{start}"
        if row is None:
            return refuse(event_id, self._rows.end - start - 1, raw)
        if isinstance(row, Refusal):
            return SourceEvent(event_id, raw, row)
        if len(row) != len(self.header):
            return SourceEvent(event_id, raw, Refusal.ROW_WIDTH)
        if self._id is not None:
            event_id = row[self._id] or event_id
        values = {
            name: convert(text) if text else None
            for name, convert, text in zip(self.header, self._convert, row, strict=True)
        }
        data = msgspec.json.encode(values)
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)


def read_header(rows: CsvRows, file: str) -> list[str] | None:
    """The names in the first of `rows`; None when there is none (yet).

    Raises ConfigError when it is no header. What the row says is never told: of a file without a header it is data
    (invariant 9).
    """
    taken = rows.next()
    if taken is None:
        return None
    header = taken[1]
    if not isinstance(header, list):
        raise ConfigError(f"The header row of {file} cannot be read: {header or 'it is too long'}.")
    for number, name in enumerate(header, 1):
        if not name or name in header[: number - 1]:
            what = f"repeats the name of column {header.index(name) + 1}" if name else "has no name"
            raise ConfigError(
                f"Column {number} in the header row of {file} {what}: give each column a name of its own."
            )
    other = rows.likelier_delimiter(header)
    if other is not None:
        raise ConfigError(
            f"The header row of {file} has one column that holds {other!r}: set `delimiter` to that, or to "
            f"{rows.delimiter!r} if it is one column."
        )
    return header


def _require_columns(header: list[str], asked: list[str], file: str) -> None:
    """Raises ConfigError when a column is not in the header."""
    for name in asked:
        if name not in header:
            raise ConfigError(
                f'The header row of {file} has {len(header)} columns, but no "{name}": mend its spelling, or give the '
                "file a header row."
            )

"""Splits the lines of a CSV file into rows of values; a row may span lines inside quotes."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from clearwell.source import EVENT_LIMIT, Refusal
from connectors.file.lines import Line, Lines, is_overlong
from connectors.file.ndjson import BOM

Row: TypeAlias = tuple[int, list[str] | Refusal | None, bytes]
"""Where the row starts, its values (Refusal: why it is none; None: too long), its bytes."""

_DELIMITERS = (";", "\t", "|", ",")


class CsvRows:
    """Reads one row after the other. While the lines `wait`, so does a row whose quotes are still open."""

    def __init__(self, lines: Lines, delimiter: str | None = None, quote: str = '"') -> None:
        """`delimiter`: None when nobody said it, then a comma. An empty `quote`: nothing is quoted."""
        self._lines = lines
        self._told = delimiter is not None
        self.delimiter = delimiter or ","
        self._quote = quote
        self._mark = quote.encode()
        self._ahead: deque[Line] = deque()
        self.end = 0
        self.read = 0
        """Rows, whether they are whole or not."""
        csv.field_size_limit(max(csv.field_size_limit(), EVENT_LIMIT))

    def next(self) -> Row | None:
        """The next row; None at the end, or when it is not whole yet."""
        line = self._pull()
        while line is not None and not line[1].strip(b"\r\n "):
            line = self._pull()
        if line is None:
            return None
        start, data, end = line
        if is_overlong(line):
            self.end, self.read = end, self.read + 1
            return start, None, data
        text = data[3:] if not start and data.startswith(BOM) else data
        try:
            if not self._quote or self._mark not in text:
                row: Row | None = start, text.decode().rstrip("\r\n").split(self.delimiter), text.rstrip(b"\r\n")
            else:
                row = self._quoted(line, text)
        except UnicodeDecodeError:
            row = start, Refusal.NOT_UTF8, text.rstrip(b"\r\n")
        if row is not None:
            self.end, self.read = max(self.end, end), self.read + 1
        return row

    def likelier_delimiter(self, header: list[str]) -> str | None:
        """What seems to be between the columns, when nobody said it and the header has but one."""
        if self._told or len(header) > 1:
            return None
        return next((delimiter for delimiter in _DELIMITERS if delimiter in header[0]), None)

    def _quoted(self, first: Line, text: bytes) -> Row | None:
        more: list[Line] = []
        reader = csv.reader(self._texts(text, more), strict=True, delimiter=self.delimiter, quotechar=self._quote)
        try:
            row = next(reader)
        except (csv.Error, UnicodeDecodeError):
            row = None
        if row is None and self._lines.wait and self._is_open(text, more):
            self._ahead.extendleft(reversed([first, *more]))
            return None
        if row is None:  # the quotes of the first line are wrong: it alone is refused, what follows is read afresh
            self._ahead.extendleft(reversed(more))
            return first[0], Refusal.QUOTES, text.rstrip(b"\r\n")
        if more:
            self.end = more[-1][2]
        return first[0], row, b"".join([text, *(line[1] for line in more)]).rstrip(b"\r\n")

    def _is_open(self, text: bytes, more: list[Line]) -> bool:
        """Whether quotes are open where the lines end as yet, and the row may still become one."""
        size = len(text) + sum(len(line[1]) for line in more)
        quotes = text.count(self._mark) + sum(line[1].count(self._mark) for line in more)
        return not self._ahead and quotes % 2 == 1 and size <= EVENT_LIMIT

    def _texts(self, first: bytes, more: list[Line]) -> Iterator[str]:
        """The lines of a row, as they are: what ends a line inside quotes is part of the value."""
        yield first.decode()
        size = len(first)
        while size <= EVENT_LIMIT:
            line = self._pull()
            if line is None:
                return
            more.append(line)
            if is_overlong(line):
                return
            size += len(line[1])
            yield line[1].decode()

    def _pull(self) -> Line | None:
        if not self._ahead:
            self._ahead.extend(self._lines.take(1_000))
        return self._ahead.popleft() if self._ahead else None

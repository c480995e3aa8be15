"""One opened file: its events from an offset on, and whether it is still the file that was opened."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol

from clearwell.errors import ConfigError
from clearwell.source import SourceEvent
from connectors.file.arrow_json import Forms
from connectors.file.config import FileConfig, form_of, zone_of
from connectors.file.content import Content
from connectors.file.csv_reader import CsvForm, CsvReader, read_header
from connectors.file.csv_rows import CsvRows
from connectors.file.json_values import JsonReader, is_a_line_a_value
from connectors.file.lines import Lines
from connectors.file.ndjson import NdjsonReader
from connectors.file.parquet import ParquetReader
from connectors.file.read_counts import Tally
from connectors.file.stores import File, FileStore

MARKED = 256
"""Bytes at the beginning of a file, and before an offset, by which its content is known again."""


class FileReader(Protocol):
    """Reads events of one format; `items` counts what it has read, before it makes events of it."""

    @property
    def items(self) -> int:
        """Lines, rows or records, so far."""

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; no events at the end of the file."""


class ReadBatch(NamedTuple):
    """Events, the offset after them, and what tells this file up to there from another (see `OpenFile.mark`)."""

    events: list[SourceEvent]
    end: int
    mark: str


class OpenFile:
    """Reads one file. Blocks; not thread-safe."""

    def __init__(
        self,
        store: FileStore,
        file: File,
        config: FileConfig,
        offset: int = 0,
        *,
        mark: str = "",
        turn: int = 0,
        wait: bool = False,
    ) -> None:
        """`turn`: how many files were in this one's place before, which its ids tell. `wait`: its last line may grow.

        Raises ConfigError when the file is missing, damaged, or not what was read up to `offset`, as `mark` says;
        Retryable.
        """
        self._store, self._file, self._config = store, file, config
        self._name = f"{file.key}~{turn}" if turn else file.key
        self._lines: Lines | None = None
        self._values: JsonReader | None = None
        with self._failures():
            opened, self._identity = store.open(file)
            self._opened: BinaryIO = opened
            try:
                self._reader = self._read(opened, offset, wait)
                if mark and self.mark(offset) not in ("", mark):
                    raise self._changed(f"what is before byte {offset}, where reading stopped, is not what was read")
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        for content in (self._lines, self._values):
            if content is not None:
                content.close()
        self._opened.close()

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; none at the end. Raises ConfigError for damage."""
        with self._failures():
            return self._reader.batch(count)

    def piece(self) -> ReadBatch:
        """The next batch, marked."""
        events, end = self.batch(self._config.batch_events)
        return ReadBatch(events, end, self.mark(end))

    @property
    def items(self) -> int:
        """Lines, rows or records that were read."""
        return self._reader.items

    @property
    def total(self) -> int | None:
        """Rows of the whole file, where it says so itself."""
        return self._reader.total if isinstance(self._reader, ParquetReader) else None

    def finish(self) -> None:
        """Nothing more will be appended: the last line is whole as it is."""
        if self._lines is not None:
            self._lines.wait = False

    @property
    def plain(self) -> bool:
        """Whether the file is lines of text, as it is."""
        return self._lines is not None and self._lines.plain

    @property
    def taken(self) -> int | None:
        """The bytes of a plain file that its reader has seen, a last line that is not ended included; else None."""
        return self._lines.taken if self._lines is not None and self._lines.plain else None

    @property
    def unfinished(self) -> bool:
        """Whether there is a last line that is not ended, and that may be part of a longer one."""
        if self._lines is None or not (self._lines.unfinished and self._lines.plain and self._store.local):
            return False  # what is packed says itself that it is whole, and a store's object appears at once
        return not (isinstance(self._reader, NdjsonReader) and self._lines.rest_is_an_object())

    @property
    def number(self) -> int:
        """The file descriptor, of a file of this machine."""
        return self._opened.fileno()

    def mark(self, offset: int) -> str:
        """A hash of how the file begins and of what is before `offset`; "" where it is not plain, or not of here."""
        if self._lines is None or not self._lines.plain or not self._store.local:
            return ""
        number, size = self.number, min(MARKED, offset)
        around = os.pread(number, size, 0) + os.pread(number, size, offset - size)
        return hashlib.blake2b(around, digest_size=4).hexdigest()

    def types(self) -> dict[str, str]:
        """The contract's types by field, where the file itself says them; empty where it does not."""
        return self._reader.types() if isinstance(self._reader, ParquetReader) else {}

    @property
    def is_without_header(self) -> bool:
        """Whether this is a CSV file without any row, not even a header."""
        return isinstance(self._reader, CsvReader) and not self._reader.header

    def is_same(self) -> bool:
        """Whether the file in its place is the one that was opened. Raises ConfigError when there is none."""
        return self._store.now(self._file)[0] == self._identity

    def require_same(self) -> None:
        """Raises ConfigError when the file was cut or replaced since it was opened.

        One of this machine that was removed is whole nevertheless: who has it open reads all of it.
        """
        if self._store.local and not os.path.lexists(self._file.path):
            return
        identity, size = self._store.now(self._file)
        if identity != self._identity:
            raise ConfigError(
                f"{self._file.key} was cut or replaced while it was read. "
                "Register the new content as a connector of its own."
            )
        if self._lines is not None:
            self._lines.require_not_shorter(size)

    def _read(self, opened: BinaryIO, offset: int, wait: bool) -> FileReader:
        config, key = self._config, self._file.key
        form = form_of(config.format, key)
        if form == "parquet":
            if config.follow:
                raise self._no_follower()
            return ParquetReader(
                self._name, opened, config.id_field, offset, Forms(zone_of(config.time_zone), config.columns)
            )
        if form == "json" and not self._is_a_line_a_value():
            if config.follow:
                raise self._no_follower()
            self._values = JsonReader(self._name, Content(opened, config.encoding), config.id_field, offset)
            return self._values
        self._lines = lines = Lines(Content(opened, config.encoding), key, offset, wait_for_newline=wait)
        if config.follow and not lines.plain:
            raise self._no_follower()
        if form == "csv":
            rows = CsvRows(lines, config.delimiter, config.quote)
            return CsvReader(
                self._name, rows, CsvForm(config.columns, config.id_field), self._header() if offset else None
            )
        return NdjsonReader(self._name, lines, config.id_field)

    def _is_a_line_a_value(self) -> bool:
        opened, _ = self._store.open(self._file)
        content = Content(opened, self._config.encoding)
        try:
            return is_a_line_a_value(content)
        finally:
            content.close()

    def _header(self) -> list[str]:
        """A CSV file's header, read from its beginning."""
        opened, _ = self._store.open(self._file)
        config = self._config
        with Lines(Content(opened, config.encoding), self._file.key) as beginning:
            header = read_header(CsvRows(beginning, config.delimiter, config.quote), self._file.key)
        if header is None:
            raise self._changed("it is empty")
        return header

    def _no_follower(self) -> ConfigError:
        return ConfigError(
            f"{self._file.key} can't be followed: `follow` needs one plain file of lines in UTF-8. "
            "Name one in `path`, or leave `follow` out."
        )

    def _changed(self, what: str) -> ConfigError:
        return ConfigError(f"{self._file.key} has changed: {what}. Register the new content as a connector of its own.")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        with self._store.failures(self._file):
            try:
                yield
            except (EOFError, gzip.BadGzipFile, zlib.error):
                raise ConfigError(f"{self._file.key} is damaged or cut off: its content does not end well.") from None


@asynccontextmanager
async def open_file(
    store: FileStore,
    file: File,
    config: FileConfig,
    offset: int = 0,
    *,
    mark: str = "",
    turn: int = 0,
    wait: bool = False,
    tally: Tally,
) -> AsyncIterator[OpenFile]:
    """An `OpenFile`, opened and closed in a thread; closed whenever it is cancelled, and if the loop ends meanwhile."""
    opening = _Opening(lambda: OpenFile(store, file, config, offset, mark=mark, turn=turn, wait=wait))
    try:
        opened = await asyncio.to_thread(opening.open)
        tally.begin(opened)
        yield opened
    finally:
        tally.end()
        try:
            await asyncio.shield(asyncio.to_thread(opening.close))
        except asyncio.CancelledError:  # perhaps before the thread came to it
            opening.close()
            raise


class _Opening:
    """A file that one thread opens, and that another may give up before it is there."""

    def __init__(self, make: Callable[[], OpenFile]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._opened: OpenFile | None = None
        self._closed = False

    def open(self) -> OpenFile:
        opened = self._make()
        with self._lock:
            self._opened = opened
            if self._closed:
                opened.close()
        return opened

    def close(self) -> None:
        """Close the file now, or as soon as it is open; again is harmless."""
        with self._lock:
            self._closed = True
            if self._opened is not None:
                self._opened.close()

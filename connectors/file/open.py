"""One opened file: its events from an offset on, and whether it is still the file that was opened."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Protocol

from clearwell.errors import ConfigError
from clearwell.source import SourceEvent
from connectors.file.config import FileConfig, form_of
from connectors.file.content import Content
from connectors.file.csv import CsvReader, Rows, read_header, require_columns
from connectors.file.lines import Lines
from connectors.file.ndjson import NdjsonReader
from connectors.file.parquet import ParquetReader
from connectors.file.stores import File, Store


class Reader(Protocol):
    """Reads events of one format."""

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; no events at the end of the file."""


class OpenFile:
    """Reads one file. Blocks; not thread-safe."""

    def __init__(self, store: Store, file: File, config: FileConfig, offset: int = 0) -> None:
        """Raises ConfigError when the file is missing, damaged, or not what was read up to `offset`; Retryable."""
        self._store, self._file, self._config = store, file, config
        self._lines: Lines | None = None
        with self._failures():
            opened, self._identity = store.open(file)
            self._opened: BinaryIO = opened
            try:
                self._reader = self._read(opened, offset)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()
        self._opened.close()

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the offset after them; none at the end. Raises ConfigError for damage."""
        with self._failures():
            return self._reader.batch(count)

    def types(self) -> dict[str, str]:
        """The contract's types by field, where the file itself says them; empty where it does not."""
        return self._reader.types() if isinstance(self._reader, ParquetReader) else {}

    def require_same(self) -> None:
        """Raises ConfigError when the file was cut or replaced since it was opened."""
        identity, size = self._store.now(self._file)
        if identity != self._identity:
            raise ConfigError(
                f"{self._file.key} was cut or replaced while it was read. "
                "Register the new content as a connector of its own."
            )
        if self._lines is not None:
            self._lines.require_not_shorter(size)

    def _read(self, opened: BinaryIO, offset: int) -> Reader:
        config, key = self._config, self._file.key
        form = form_of(config.format, key)
        if form == "parquet":
            return ParquetReader(key, opened, config.id_field, offset)
        self._lines = lines = Lines(Content(opened), key, offset, wait_for_newline=config.follow)
        if form == "ndjson":
            return NdjsonReader(key, lines, config.id_field)
        rows = Rows(lines)
        header = self._header() if offset else read_header(rows, key)
        require_columns(header, [*config.columns, *([config.id_field] if config.id_field else [])], key)
        return CsvReader(key, rows, header, config.columns, config.id_field)

    def _header(self) -> list[str]:
        """A CSV file's header, read from its beginning."""
        opened, _ = self._store.open(self._file)
        with Lines(Content(opened), self._file.key) as beginning:
            return read_header(Rows(beginning), self._file.key)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        with self._store.failures(self._file):
            try:
                yield
            except (EOFError, gzip.BadGzipFile, zlib.error):
                raise ConfigError(f"{self._file.key} is damaged or cut off: its content does not end well.") from None

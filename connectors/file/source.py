"""Files as a source: NDJSON, CSV and Parquet; one file, a folder or a pattern, on this machine or behind a URL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import ClassVar

from clearwell.errors import ClearwellError, ConfigError
from clearwell.source import HEARTBEAT_SECONDS, Batch, Count, DiscoveredStream, SourceConfig, SourcePosition
from connectors.file.config import FileConfig, FilePosition, form_of, require_consistent
from connectors.file.folder import SourceFolder
from connectors.file.follow import FileFollower
from connectors.file.opening import OpenFile, open_file
from connectors.file.poll_timer import PollTimer
from connectors.file.read_counts import Tally
from connectors.file.stores import File, store_of
from connectors.file.watch import Watcher
from connectors.samples import field_types, json_objects

log = logging.getLogger(__name__)

SAMPLE = 200


class FileSource:
    """Reads files in batches."""

    name: ClassVar[str] = "file"
    Config: ClassVar[type[SourceConfig]] = FileConfig
    Position: ClassVar[type[SourcePosition]] = FilePosition

    def __init__(self, config: FileConfig) -> None:
        """Does no I/O yet. Raises ConfigError when the options contradict each other."""
        require_consistent(config)
        self._config = config
        self._store = store_of(config.path, config.storage_options | config.storage_secrets)
        if config.follow and not self._store.local:
            raise ConfigError("`follow` needs a file of this machine: leave it out, or use `watch` for new files.")
        self._folder = SourceFolder(config, self._store)
        self._pace = PollTimer(config.poll_seconds, HEARTBEAT_SECONDS)
        self._tally = Tally()

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field."""
        return () if self._config.id_field is None else (self._config.id_field,)

    def check(self) -> None:
        """Prove that every file is there, readable, of a known format, and that no option is in vain."""
        files = self._folder.files()
        self._folder.require_options(files)
        wrong: list[ConfigError] = []
        for file in files:
            try:
                self._check_file(file, alone=len(files) == 1)
            except ConfigError as error:
                wrong.append(error)
                if not self._config.watch or len(wrong) == len(files):
                    raise
        for what in wrong:
            log.warning("%s It will be passed over until it changes.", what)

    def _check_file(self, file: File, *, alone: bool) -> None:
        with OpenFile(self._store, file, self._config) as opened:
            events, _ = opened.batch(20)
            if not events and opened.is_without_header and alone and not self._grows:
                raise ConfigError(f"{file.key} is empty: a CSV file needs a header row.")

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the first file that has events; types are guessed from them, where it tells none."""
        files = self._folder.files()
        if not files:
            raise ConfigError(f"{self._store.place} is empty as yet: put a file into it.")
        for file in files:
            try:
                with OpenFile(self._store, file, self._config) as opened:
                    rows = json_objects(opened.batch(SAMPLE)[0])
                    types = opened.types() or field_types(rows)
            except ConfigError:
                if not self._config.watch or file == files[-1]:
                    raise
                continue
            if types:
                break
        return [DiscoveredStream(file.key.rpartition("/")[2].split(".")[0], types, rows)]

    async def read(self, after: FilePosition | None) -> AsyncIterator[Batch]:
        """Batches of events; ends after the last file, unless `follow` or `watch` is set.

        Raises ConfigError when a file is missing, unreadable, damaged, or cut or replaced since the position; with
        `watch` such a file is passed over, and what a followed one does is told in the log.
        """
        batches: AsyncGenerator[Batch, None]
        if self._config.watch:
            batches = Watcher(self._config, self._store, self._folder, self._pace, self._tally).read(after)
        elif self._config.follow:
            (file,) = await asyncio.to_thread(self._followed, after)
            batches = FileFollower(self._config, self._store, file, self._pace, self._tally).read(after)
        else:
            batches = self._read(after)
        async with aclosing(batches):
            async for batch in batches:
                yield batch

    async def close(self) -> None:
        """Stop waiting. The open file is closed when its reader ends or is closed."""
        self._pace.close()

    def count(self) -> Count:
        """Lines, rows or records. Parquet files say how many rows they hold. Files and folders that are passed over."""
        return self._tally.count(self._folder.passed_over)

    def between(self, old: FilePosition | None, new: FilePosition | None) -> str:
        """In files and offsets: rows of Parquet, else bytes."""
        if old is not None and new is not None and old.file == new.file:
            moved = "read again" if new.offset < old.offset else "skipped"
            return f"{abs(new.offset - old.offset)} bytes (of Parquet: rows) of {new.file} would be {moved}."
        places = ["the beginning" if at is None else f"{at.offset} of {at.file}" for at in (new, old)]
        return f"Reading would go on at {places[0]} instead of {places[1]}: files between are read again or skipped."

    @property
    def _grows(self) -> bool:
        return self._config.follow or self._config.watch

    def _followed(self, after: FilePosition | None) -> list[File]:
        """The file to follow, which may be away for a moment when it was read before."""
        return self._folder.files() if after is None else self._store.find()

    async def _read(self, after: FilePosition | None) -> AsyncGenerator[Batch, None]:
        """The files of now, from the position on, in the order of their names."""
        files = await asyncio.to_thread(self._folder.files)
        if after is not None and all(file.key != after.file for file in files):
            raise ConfigError(f"{after.file}, where reading stopped, is gone: put it back, or reset the connector.")
        for file in files:
            if after is None or file.key >= after.file:
                async with aclosing(self._read_file(file, after)) as batches:
                    async for batch in batches:
                        yield batch
        if not self._pace.closed:
            self._tally.held = await asyncio.to_thread(self._held, files)

    def _held(self, files: list[File]) -> int | None:
        """Rows of all files, where each says it itself, which only Parquet does."""
        if any(form_of(self._config.format, file.key) != "parquet" for file in files):
            return None
        held = 0
        try:
            for file in files:
                with OpenFile(self._store, file, self._config) as opened:
                    held += opened.total or 0
        except ClearwellError:  # it has gone since it was read
            return None
        return held

    async def _read_file(self, file: File, after: FilePosition | None) -> AsyncGenerator[Batch, None]:
        """A file to its end."""
        begun = after if after is not None and after.file == file.key else FilePosition(file=file.key, offset=0)
        async with open_file(
            self._store, file, self._config, begun.offset, mark=begun.mark, tally=self._tally
        ) as opened:
            while not self._pace.closed:
                piece = await asyncio.to_thread(opened.piece)
                if not piece.events:
                    await asyncio.to_thread(opened.require_same)
                    return
                yield piece.events, FilePosition(file=file.key, offset=piece.end, mark=piece.mark)

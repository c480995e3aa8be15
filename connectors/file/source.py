"""Files as a source: NDJSON, CSV and Parquet; one file, a folder or a pattern, on this machine or behind a URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import ClassVar, TypeAlias

from clearwell.errors import ConfigError
from clearwell.source import HEARTBEAT_SECONDS, Batch, DiscoveredStream, SourceConfig, SourceEvent, SourcePosition
from connectors.file.config import KNOWN, FileConfig, FilePosition, known_form
from connectors.file.finished import Finished
from connectors.file.open import OpenFile
from connectors.file.stores import File, store_of
from connectors.samples import field_types, json_objects

SAMPLE = 200
FileBatch: TypeAlias = tuple[list[SourceEvent], FilePosition | None]


class FileSource:
    """Reads files in batches."""

    name: ClassVar[str] = "file"
    Config: ClassVar[type[SourceConfig]] = FileConfig
    Position: ClassVar[type[SourcePosition]] = FilePosition

    def __init__(self, config: FileConfig) -> None:
        """Does no I/O yet. Raises ConfigError when the options contradict each other."""
        if config.follow and config.watch:
            raise ConfigError("`follow` is for what is appended to one file, `watch` for new files: set one of them.")
        self._config = config
        self._store = store_of(config.path, config.storage_options | config.storage_secrets)
        self._closed = asyncio.Event()

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The configured field."""
        return () if self._config.id_field is None else (self._config.id_field,)

    def check(self) -> None:
        """Prove that every file is there, readable and of a known format."""
        for file in self._files():
            with OpenFile(self._store, file, self._config) as opened:
                opened.batch(20)

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the first file; types are guessed from its first events, where it tells none."""
        files = self._files()
        if not files:
            raise ConfigError(f"{self._store.place} is empty as yet: put a file into it.")
        with OpenFile(self._store, files[0], self._config) as opened:
            rows = json_objects(opened.batch(SAMPLE)[0])
            types = opened.types() or field_types(rows)
        return [DiscoveredStream(files[0].key.rpartition("/")[2].split(".")[0], types, rows)]

    async def read(self, after: FilePosition | None) -> AsyncIterator[Batch]:
        """Batches of events; ends after the last file, unless `follow` or `watch` is set.

        Raises ConfigError when a file is missing, unreadable, damaged, or cut or replaced since the position.
        """
        files = await asyncio.to_thread(self._files)
        finished = _finished(after, self._config.watch)
        if after is not None and after.file not in finished:
            started = [file for file in files if file.key == after.file]
            if not started:
                raise ConfigError(f"{after.file}, where reading stopped, is gone: put it back, or reset the connector.")
            async with aclosing(self._read_file(started[0], finished, after.offset)) as batches:
                async for events, position in batches:
                    yield events, position
                    after = position
        rest = self._watch(finished, after) if self._config.watch else self._rest(files, finished, after)
        async with aclosing(rest) as batches:
            async for batch in batches:
                yield batch

    async def close(self) -> None:
        """Stop waiting. The open file is closed when its reader ends or is closed."""
        self._closed.set()

    def between(self, old: FilePosition | None, new: FilePosition | None) -> str:
        """In files and offsets: rows of Parquet, else bytes."""
        if old is not None and new is not None and old.file == new.file:
            moved = "read again" if new.offset < old.offset else "skipped"
            return f"{abs(new.offset - old.offset)} bytes (of Parquet: rows) of {new.file} would be {moved}."
        places = ["the beginning" if at is None else f"{at.offset} of {at.file}" for at in (new, old)]
        return f"Reading would go on at {places[0]} instead of {places[1]}: files between are read again or skipped."

    async def _rest(
        self, files: list[File], finished: Finished, after: FilePosition | None
    ) -> AsyncGenerator[FileBatch, None]:
        """The files that are not finished, in order."""
        for file in files:
            if file.key not in finished and (after is None or file.key != after.file):
                async with aclosing(self._read_file(file, finished)) as batches:
                    async for batch in batches:
                        yield batch

    async def _watch(self, finished: Finished, position: FilePosition | None) -> AsyncGenerator[FileBatch, None]:
        """New files for ever. One is new when it is not finished, and ready when its size stays the same."""
        seen: dict[str, int] = {}
        spoke = time.monotonic()
        while not self._closed.is_set():
            files = await asyncio.to_thread(self._files)
            finished.look(file.key for file in files)
            ready = [file for file in files if file.key not in finished and seen.get(file.key) == file.size]
            seen = {file.key: file.size for file in files}
            for file in ready:
                async with aclosing(self._read_file(file, finished)) as batches:
                    async for events, position in batches:
                        yield events, position
                        spoke = time.monotonic()
            if time.monotonic() - spoke >= HEARTBEAT_SECONDS - min(self._config.poll_seconds, 5.0):
                yield [], position
                spoke = time.monotonic()
            await self._wait()

    async def _read_file(self, file: File, finished: Finished, offset: int = 0) -> AsyncGenerator[FileBatch, None]:
        """A file to its end; the last batch of a watched one says that it is finished."""
        config, spoke, end = self._config, time.monotonic(), offset
        opening = asyncio.ensure_future(asyncio.to_thread(OpenFile, self._store, file, config, offset))
        try:
            opened = await asyncio.shield(opening)
            while not self._closed.is_set():
                events, end = await asyncio.to_thread(opened.batch, config.batch_events)
                if events or time.monotonic() - spoke >= HEARTBEAT_SECONDS - min(config.poll_seconds, 5.0):
                    yield events, self._position(file, end, finished)
                    spoke = time.monotonic()
                    continue
                await asyncio.to_thread(opened.require_same)
                if not config.follow:
                    break
                await self._wait()
            else:
                return
            if config.watch:
                finished.add(file.key)
                yield [], self._position(file, end, finished)
        finally:
            await asyncio.shield(_close(opening))

    def _position(self, file: File, offset: int, finished: Finished) -> FilePosition:
        if not self._config.watch:
            return FilePosition(file=file.key, offset=offset)
        return FilePosition(file=file.key, offset=offset, done=finished.names, before=finished.floor)

    async def _wait(self) -> None:
        with suppress(TimeoutError):  # `wait_for` of Python 3.11 may swallow a cancellation
            async with asyncio.timeout(min(self._config.poll_seconds, 5.0)):
                await self._closed.wait()

    def _files(self) -> list[File]:
        """What `path` names, in the order of names. Raises ConfigError when that is nothing and nothing is awaited."""
        config = self._config
        found = self._store.find()
        if len(found) != 1:
            found = [file for file in found if config.format != "auto" or known_form(file.key)]
        if not found and not config.watch:
            raise ConfigError(f"{self._store.place} holds no {KNOWN}: set `path` right.")
        if config.follow and (len(found) > 1 or found[0].key.endswith((".gz", ".zst", ".zstd", ".parquet"))):
            raise ConfigError("`follow` needs one plain file: name it in `path`, or leave `follow` out.")
        return sorted(found)


def _finished(after: FilePosition | None, watch: bool) -> Finished:
    """What a position says of files; one that was not made by watching says that all before its file are finished."""
    if after is None:
        return Finished([], "")
    return Finished([], after.file) if after.done is None else Finished(after.done, after.before)


async def _close(opening: asyncio.Future[OpenFile]) -> None:
    """Close a file, also one that was still being opened when reading was cancelled."""
    try:
        opened = await opening
    except Exception:
        return
    await asyncio.to_thread(opened.close)

"""Watches a folder: files are read when they have settled, and what is appended to them later too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from clearwell.errors import ConfigError
from clearwell.source import SourceEvent
from connectors.file.config import FileConfig, FilePosition
from connectors.file.finished_files import Done, Finished
from connectors.file.folder import SourceFolder
from connectors.file.opening import OpenFile, ReadBatch, open_file
from connectors.file.poll_timer import PollTimer
from connectors.file.read_counts import Tally
from connectors.file.stores import File, FileStore

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Times `settle_seconds` that a last line which is not ended is waited for, until it is taken to be whole."""

FileBatch: TypeAlias = tuple[list[SourceEvent], FilePosition | None]
_State: TypeAlias = tuple[int, object]


@dataclass(slots=True)
class _Look:
    """How a file was when it was last looked at, and since when it is so."""

    state: _State
    since: float
    tried: _State | None = None
    told: _State | None = None


class Watcher:
    """Reads new files for ever.

    One that can't be read never stops another: it is told of in the log, and tried again when it changes.
    """

    def __init__(
        self, config: FileConfig, store: FileStore, folder: SourceFolder, pace: PollTimer, tally: Tally
    ) -> None:
        self._config, self._store, self._folder = config, store, folder
        self._pace, self._tally = pace, tally
        self._looks: dict[str, _Look] = {}
        self._finished = Finished([], "")

    async def read(self, after: FilePosition | None) -> AsyncGenerator[FileBatch, None]:
        """Batches from the position on."""
        self._finished = _finished_at(after)
        if after is not None and after.file not in self._finished:  # begun
            self._finished.add(after.file, Done(after.offset, 0, after.mark, bad=True))
        position = after
        while not self._pace.closed:
            for file in await asyncio.to_thread(self._ready):
                async with aclosing(self._read_file(file)) as batches:
                    async for events, position in batches:
                        yield events, position
                        self._pace.spoke()
            if self._pace.is_due():
                yield [], position
                self._pace.spoke()
            await self._pace.wait()

    def _ready(self) -> list[File]:
        """The files to be read now, in the order of their names."""
        files = self._folder.files()
        self._finished.look(file.key for file in files)
        now = time.monotonic()
        before, self._looks = self._looks, {}
        for file in files:
            state = (file.size, file.stamp)
            look = before.get(file.key)
            self._looks[file.key] = look if look is not None and look.state == state else _Look(state, now)
        ready = [file for file in files if file.key in before and self._is_ready(file, now)]
        self._count_spoilt()
        return ready

    def _is_ready(self, file: File, now: float) -> bool:
        look, settle = self._looks[file.key], self._config.settle_seconds
        quiet = now - look.since
        if quiet < settle or look.tried == look.state or look.since == now:
            return False
        if file.key not in self._finished:
            return True
        done = self._finished.of(file.key)
        if done is None:  # before the floor: how far it was read is not known any more
            return False
        if done.bad:
            return True
        if done.size == file.size:
            return bool(done.mark) and done.offset < done.size and quiet >= PATIENCE * settle
        if done.size >= 0 and not (done.mark and file.size > done.size) and look.told != look.state:
            look.told = look.state
            log.warning(
                "%s has changed since it was read (%d bytes, now %d): nothing more of it is read; put what is new into "
                "a file of its own",
                file.key,
                done.size,
                file.size,
            )
        return bool(done.mark) and file.size > done.size

    async def _read_file(self, file: File) -> AsyncGenerator[FileBatch, None]:
        """What is not read yet of a file that has settled; the last batch says that it is finished."""
        done = self._finished.of(file.key) or Done()
        whole = done.size == file.size and not done.bad  # its last line was waited for long enough
        at = ReadBatch([], done.offset, done.mark)
        look = self._looks[file.key]
        look.tried = look.state
        self._finished.remove(file.key)
        try:
            async with open_file(
                self._store, file, self._config, at.end, mark=at.mark, wait=not whole, tally=self._tally
            ) as opened:
                while not self._pace.closed:
                    at = await asyncio.to_thread(opened.piece)
                    if at.events:
                        yield at.events, self._position(file, at.end, at.mark)
                    elif whole or opened.unfinished:
                        break
                    else:
                        whole = True
                        opened.finish()
                else:
                    return
                done = await asyncio.to_thread(_done, opened, file, at)
                if not whole:
                    look.tried = None  # it is looked at again, when its last line has had time to be ended
        except ConfigError as error:
            log.warning("%s It is passed over until it changes.", error)
            done = Done(at.end, file.size, at.mark, bad=True)
        self._finished.add(file.key, done)
        self._count_spoilt()
        yield [], self._position(file, done.offset, done.mark)

    def _count_spoilt(self) -> None:
        """Files that could not be read as they are now, or that changed after they were read (invariant 11)."""
        self._tally.spoilt = sum(
            look.told == look.state or (look.tried == look.state and getattr(self._finished.of(key), "bad", False))
            for key, look in self._looks.items()
        )

    def _position(self, file: File, offset: int, mark: str) -> FilePosition:
        finished = self._finished
        return FilePosition(file=file.key, offset=offset, mark=mark, done=finished.names, before=finished.floor)


def _done(opened: OpenFile, file: File, at: ReadBatch) -> Done:
    """How far a file was read at its end."""
    taken = opened.taken
    if taken is None or opened.unfinished:
        return Done(at.end, file.size, opened.mark(at.end))
    return Done(taken, file.size, opened.mark(taken))


def _finished_at(after: FilePosition | None) -> Finished:
    """What a position says of files; one that was not made by watching says that all before its file are finished."""
    if after is None:
        return Finished([], "")
    return Finished([], after.file) if after.done is None else Finished(after.done, after.before)

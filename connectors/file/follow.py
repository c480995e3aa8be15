"""Follows one file, also when another takes its place (rotation), and when it is cut and written anew."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from clearwell.errors import ConfigError
from clearwell.source import Batch
from connectors.file.config import FileConfig, FilePosition
from connectors.file.opening import OpenFile, ReadBatch, open_file
from connectors.file.poll_timer import PollTimer
from connectors.file.read_counts import Tally
from connectors.file.stores import File, FileStore

log = logging.getLogger(__name__)

_BEGINNING = ReadBatch([], 0, "")
_CUT = (
    "%s was cut, and is read again from its beginning; what was appended to it since the last look, and cut too, "
    "can't be known"
)


class FileFollower:
    """Reads what is appended to a file, for ever.

    A file is known by its inode and by what was read of it (`OpenFile.mark`). Each that takes its place is another
    turn, so that its ids are others, though its offsets are not.
    """

    def __init__(self, config: FileConfig, store: FileStore, file: File, pace: PollTimer, tally: Tally) -> None:
        self._config, self._store, self._file = config, store, file
        self._pace, self._tally = pace, tally
        self._inode = 0

    async def read(self, after: FilePosition | None) -> AsyncGenerator[Batch, None]:
        """Batches from the position on. Raises ConfigError when there is no such file, and never was."""
        file: File | None = self._file
        turn, at = 0, _BEGINNING
        if after is not None:
            turn, at = after.turn, ReadBatch([], after.offset, after.mark)
            file = await asyncio.to_thread(self._file_of, after)
            if file is None:
                self._tell_of_a_gap(after)
        while not self._pace.closed:
            if file is not None:
                async with aclosing(self._read(file, turn, at)) as batches:
                    async for batch in batches:
                        yield batch
            file, turn, at = self._file, turn + 1, _BEGINNING
            async with aclosing(self._appears(turn)) as beats:
                async for beat in beats:
                    yield beat

    async def _read(self, file: File, turn: int, at: ReadBatch) -> AsyncGenerator[Batch, None]:
        """One file, until another is in its place, or it was cut."""
        pace, gone = self._pace, 0.0
        async with open_file(
            self._store, file, self._config, at.end, mark=at.mark, turn=turn, wait=True, tally=self._tally
        ) as opened:
            inode, seen = await asyncio.to_thread(_first_look, opened)
            while not pace.closed:
                if await asyncio.to_thread(
                    seen.was_cut, opened
                ):  # before reading on: what is there is not what follows
                    log.warning(_CUT, file.key)
                    return
                piece, seen = await asyncio.to_thread(_next, opened)
                if piece.events:
                    yield piece.events, self._position(turn, piece, inode)
                    pace.spoke()
                    gone, at = 0.0, piece
                    continue
                if file.path == self._file.path and await asyncio.to_thread(_is_in_place, opened):
                    gone = 0.0
                elif not gone:
                    gone = time.monotonic()
                elif time.monotonic() - gone >= self._config.settle_seconds:
                    break  # whoever wrote into the old file had time to see that another is in its place
                if pace.is_due():
                    yield [], self._position(turn, at, inode)
                    pace.spoke()
                await pace.wait()
            else:
                return
            opened.finish()
            piece, _ = await asyncio.to_thread(_next, opened)
            if piece.events:
                yield piece.events, self._position(turn, piece, inode)
            log.info("%s was replaced; its successor is read next", file.key)

    async def _appears(self, turn: int) -> AsyncGenerator[Batch, None]:
        """Wait until there is a file."""
        while not self._pace.closed and not await asyncio.to_thread(Path(self._file.path).exists):
            if self._pace.is_due():
                yield [], self._position(turn, ReadBatch([], 0, ""), 0)
                self._pace.spoke()
            await self._pace.wait()

    def _position(self, turn: int, at: ReadBatch, inode: int) -> FilePosition:
        return FilePosition(file=self._file.key, offset=at.end, turn=turn, mark=at.mark, inode=inode)

    def _file_of(self, after: FilePosition) -> File | None:
        """The file that a position is of, under its name or under that which rotation gave it; None: it has gone."""
        if not after.inode:  # nothing told of it: a position of former versions, or before there was any
            return self._file
        path = Path(self._file.path)
        places = (
            [path, *sorted(sibling for sibling in path.parent.iterdir() if sibling != path)]
            if path.parent.is_dir()
            else []
        )
        for candidate in places:
            try:
                status = candidate.stat()
            except OSError:
                continue
            known = status.st_ino == after.inode or (candidate == path and after.offset > 0)  # or was copied back
            if known and status.st_size >= after.offset and self._is_of(after, candidate):
                return File(self._file.key, str(candidate), status.st_size)
        return None

    def _is_of(self, after: FilePosition, path: Path) -> bool:
        try:
            with OpenFile(self._store, File(self._file.key, str(path), 0), self._config, after.offset) as opened:
                return opened.mark(after.offset) == after.mark
        except ConfigError:
            return False

    def _tell_of_a_gap(self, after: FilePosition) -> None:
        log.warning(
            "%s was replaced or cut while nobody read it, and the file that was read up to byte %d is not beside it "
            "under another name: what it held after that byte, and files in between, are not read",
            self._file.key,
            after.offset,
        )


class _Seen:
    """What was seen of a followed file, to tell whether it was cut since."""

    def __init__(self, opened: OpenFile) -> None:
        self._state = _state(opened)
        self._taken = opened.taken or 0
        self._mark = opened.mark(self._taken)

    def was_cut(self, opened: OpenFile) -> bool:
        """Whether what was read is not there any more: it is shorter, or written anew, be it longer than before."""
        state = _state(opened)
        return state != self._state and (state[0] < self._taken or opened.mark(self._taken) != self._mark)


def _state(opened: OpenFile) -> tuple[int, int]:
    status = os.fstat(opened.number)
    return status.st_size, status.st_mtime_ns


def _first_look(opened: OpenFile) -> tuple[int, _Seen]:
    return os.fstat(opened.number).st_ino, _Seen(opened)


def _next(opened: OpenFile) -> tuple[ReadBatch, _Seen]:
    piece = opened.piece()
    return piece, _Seen(opened)


def _is_in_place(opened: OpenFile) -> bool:
    try:
        return opened.is_same()
    except ConfigError:  # nothing is there, as yet
        return False

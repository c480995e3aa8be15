"""Lines of a file with the byte offsets where they start and end, in bounded memory."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from types import TracebackType

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, NOTE_HEAD

BLOCK = 1_048_576
"""Bytes read at once."""

BATCH_BYTES = 4_194_304
"""About as many bytes are in the lines that `take` returns, at most."""

Line = tuple[int, bytes, int]
"""Where it starts, its bytes without the newline (of an overlong line the first ones alone), where the next starts."""


class Lines:
    """Reads a plain or gzip file from an offset on. Offsets count bytes of the uncompressed content.

    With `wait_for_newline` a last line without its newline is not there yet. Not thread-safe.
    """

    def __init__(self, path: Path, offset: int = 0, *, wait_for_newline: bool = False) -> None:
        """Raises ConfigError when the content is shorter than `offset` or no line ends there, OSError as `open`."""
        self._path = path
        self._wait = wait_for_newline
        self._file = _open(path)
        self._at = offset
        self._rest = b""
        self._overlong = 0
        self._ready: list[Line] = []
        if offset:
            self._seek(offset)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    @property
    def compressed(self) -> bool:
        """Whether the content is gzip."""
        return isinstance(self._file, gzip.GzipFile)

    def take(self, count: int) -> list[Line]:
        """The next lines, at most `count`; none at the end of the file."""
        while not self._ready:
            if not self._fill():
                return []
        taken, size = 0, 0
        for line in self._ready[:count]:
            taken, size = taken + 1, size + len(line[1])
            if size >= BATCH_BYTES:
                break
        lines, self._ready = self._ready[:taken], self._ready[taken:]
        return lines

    def require_not_shorter(self) -> None:
        """Raises ConfigError when the file has become shorter than what was read of it."""
        if not self.compressed and self._path.stat().st_size < self._at:
            raise self._shorter(self._at)

    def _seek(self, offset: int) -> None:
        self._file.seek(offset - 1)
        around = self._file.read(2)
        if not around:
            raise self._shorter(offset)
        if b"\n" not in around and len(around) == 2:
            raise ConfigError(
                f"{self._path.name} has changed: no line ends at byte {offset}, where reading stopped. "
                "Register the new content as a connector of its own."
            )
        self._file.seek(offset)

    def _fill(self) -> bool:
        """Read on until lines are ready; False at the end of the file."""
        block = self._file.read1(BLOCK)
        if not block:
            if self._wait or not (self._rest or self._overlong):
                return False
            self._finish_line(len(self._rest))
            return True
        if self._overlong:
            return self._skip(block)
        start, parts = self._at, (self._rest + block).split(b"\n")
        self._rest = parts.pop()
        for part in parts:
            end = start + len(part) + 1
            self._ready.append((start, part, end))
            start = end
        self._at = start
        if len(self._rest) > EVENT_LIMIT + 1:  # one more for a carriage return
            self._overlong = len(self._rest)
            self._rest = self._rest[:NOTE_HEAD]
        return True

    def _skip(self, block: bytes) -> bool:
        head, newline, tail = block.partition(b"\n")
        self._overlong += len(head)
        if newline:
            self._finish_line(self._overlong, newline=1)
            parts = tail.split(b"\n")
            self._rest = parts.pop()
            for part in parts:
                self._ready.append((self._at, part, self._at + len(part) + 1))
                self._at += len(part) + 1
        return True

    def _finish_line(self, size: int, newline: int = 0) -> None:
        end = self._at + max(size, self._overlong) + newline
        self._ready.append((self._at, self._rest, end))
        self._at, self._rest, self._overlong = end, b"", 0

    def _shorter(self, offset: int) -> ConfigError:
        return ConfigError(
            f"{self._path.name} is shorter than the {offset} bytes already read: it was cut or replaced. "
            "Register the new content as a connector of its own."
        )


def _open(path: Path) -> io.BufferedReader[io.FileIO] | gzip.GzipFile:
    plain = io.BufferedReader(io.FileIO(path), BLOCK)
    if plain.peek(2)[:2] != b"\x1f\x8b":
        return plain
    plain.close()
    return gzip.open(path, "rb")

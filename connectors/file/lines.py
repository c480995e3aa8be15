"""Lines of a file with the byte offsets where they start and end, in bounded memory."""

from __future__ import annotations

from types import TracebackType

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, NOTE_HEAD
from connectors.file.content import Content

BLOCK = 1_048_576
"""Bytes read at once."""

BATCH_BYTES = 4_194_304
"""About as many bytes are in the lines that `take` returns, at most."""

Line = tuple[int, bytes, int]
"""Where it starts, its bytes without the newline (of an overlong line the first ones alone), where the next starts."""


def is_overlong(line: Line) -> bool:
    """Whether a line was longer than any event may be, so that only its first bytes are kept."""
    start, data, end = line
    return len(data) < end - start - 1


class Lines:
    """Reads content from an offset on. Offsets count bytes of the unpacked content.

    With `wait_for_newline` a last line without its newline is not there yet. Not thread-safe.
    """

    def __init__(self, content: Content, name: str, offset: int = 0, *, wait_for_newline: bool = False) -> None:
        """Takes `content` over. Raises ConfigError when it is shorter than `offset` or no line ends there."""
        self._name = name
        self._wait = wait_for_newline
        self._content = content
        self._at = offset
        self._ahead = b""
        self._rest = b""
        self._overlong = 0
        self._ready: list[Line] = []
        if offset:
            try:
                self._seek(offset)
            except BaseException:
                content.close()
                raise

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the content."""
        self._content.close()

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

    def require_not_shorter(self, size: int) -> None:
        """Raises ConfigError when a plain file of now `size` bytes has less than what was read of it."""
        read = self._at + max(len(self._rest), self._overlong)
        if not self._content.packed and size < read:
            raise self._shorter(read)

    def _seek(self, offset: int) -> None:
        self._content.skip_to(offset - 1)
        around = self._content.read(2)
        if not around:
            raise self._shorter(offset)
        if b"\n" not in around and len(around) == 2:
            raise ConfigError(
                f"{self._name} has changed: no line ends at byte {offset}, where reading stopped. "
                "Register the new content as a connector of its own."
            )
        self._ahead = around[1:]

    def _fill(self) -> bool:
        """Read on until lines are ready; False at the end of the file."""
        block, self._ahead = self._ahead or self._content.read1(BLOCK), b""
        if not block:
            if self._wait or not (self._rest or self._overlong):
                return False
            self._finish_line(max(len(self._rest), self._overlong))
            return True
        if self._overlong:
            self._skip(block)
        else:
            self._split(self._rest + block)
        return True

    def _split(self, content: bytes) -> None:
        """Take up the lines of `content`, which begins at `_at`; what follows the last newline is kept for later."""
        parts = content.split(b"\n")
        self._rest = parts.pop()
        for part in parts:
            end = self._at + len(part) + 1
            self._ready.append((self._at, part, end))
            self._at = end
        if len(self._rest) > EVENT_LIMIT + 1:  # one more for a carriage return
            self._overlong = len(self._rest)
            self._rest = self._rest[:NOTE_HEAD]

    def _skip(self, block: bytes) -> None:
        head, newline, tail = block.partition(b"\n")
        self._overlong += len(head)
        if newline:
            self._finish_line(self._overlong + 1)
            self._split(tail)

    def _finish_line(self, size: int) -> None:
        """Take up a line of `size` bytes, its newline included, whose first bytes are in `_rest`."""
        self._ready.append((self._at, self._rest, self._at + size))
        self._at, self._rest, self._overlong = self._at + size, b"", 0

    def _shorter(self, offset: int) -> ConfigError:
        return ConfigError(
            f"{self._name} is shorter than the {offset} bytes already read: it was cut or replaced. "
            "Register the new content as a connector of its own."
        )

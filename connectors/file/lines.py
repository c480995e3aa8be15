"""Lines of a file with the byte offsets where they start and end, in bounded memory."""

from __future__ import annotations

import re
from types import TracebackType

import msgspec

from clearwell.errors import ConfigError
from clearwell.source import EVENT_LIMIT, NOTE_HEAD
from connectors.file.content import Content

BLOCK = 1_048_576
"""Bytes read at once."""

BATCH_BYTES = 4_194_304
"""About as many bytes are in the lines that `take` returns, at most."""

Line = tuple[int, bytes, int]
"""Where it starts, its bytes with what ends it (of an overlong line the first ones alone), where the next starts."""

_END = re.compile(rb"\r\n|\r|\n")


def is_overlong(line: Line) -> bool:
    """Whether a line was longer than any event may be, so that only its first bytes are kept."""
    start, data, end = line
    return len(data) < end - start


class Lines:
    """Reads content from an offset on; a line ends with LF, CR LF or CR. Offsets count bytes of the content.

    While `wait` is set, a last line that is not ended is not there yet. Not thread-safe.
    """

    def __init__(self, content: Content, name: str, offset: int = 0, *, wait_for_newline: bool = False) -> None:
        """Takes `content` over. Raises ConfigError when it is shorter than `offset` or no line ends there."""
        self._name = name
        self.wait = wait_for_newline
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

    @property
    def unfinished(self) -> bool:
        """Whether there is a last line that is not ended."""
        return bool(self._rest or self._overlong)

    @property
    def plain(self) -> bool:
        """Whether offsets are those of the file."""
        return self._content.plain

    @property
    def taken(self) -> int:
        """The bytes that were read, a last line that is not ended included."""
        return self._at + max(len(self._rest), self._overlong)

    def rest_is_an_object(self) -> bool:
        """Whether the last line, which is not ended, is a JSON object: such a line is no part of a longer one."""
        try:
            return isinstance(msgspec.json.decode(self._rest), dict)
        except Exception:  # hostile data raises outside msgspec's own errors too
            return False

    def require_not_shorter(self, size: int) -> None:
        """Raises ConfigError when a plain file of now `size` bytes has less than what was read of it."""
        if self._content.plain and size < self.taken:
            raise self._shorter(self.taken)

    def _seek(self, offset: int) -> None:
        self._content.skip_to(offset - 1)
        around = self._content.read(2)
        if not around:
            raise self._shorter(offset)
        if len(around) == 2 and not _END.search(around):
            raise ConfigError(
                f"{self._name} has changed: no line ends at byte {offset}, where reading stopped. "
                "Register the new content as a connector of its own."
            )
        self._ahead = around[1:]

    def _fill(self) -> bool:
        """Read on until lines are ready; False at the end of the file."""
        block, self._ahead = self._ahead or self._content.read1(BLOCK), b""
        if not block:
            if self.wait or not (self._rest or self._overlong):
                return False
            self._finish_line(max(len(self._rest), self._overlong))
            return True
        if self._overlong:
            self._skip(block)
        else:
            self._split(self._rest + block)
        return True

    def _split(self, content: bytes) -> None:
        """Take up the lines of `content`, which begins at `_at`; what follows the last of them is kept for later.

        A CR at the end of a block ends its line; an LF that comes after it is an empty line of its own.
        """
        parts = content.splitlines(keepends=True)
        self._rest = parts.pop() if parts and not parts[-1].endswith((b"\n", b"\r")) else b""
        at = self._at
        for part in parts:
            end = at + len(part)
            self._ready.append((at, part, end))
            at = end
        self._at = at
        if len(self._rest) > EVENT_LIMIT + 1:  # one more for a carriage return
            self._overlong = len(self._rest)
            self._rest = self._rest[:NOTE_HEAD]

    def _skip(self, block: bytes) -> None:
        ending = _END.search(block)
        self._overlong += ending.start() if ending else len(block)
        if ending:
            self._finish_line(self._overlong + len(ending[0]))
            self._split(block[ending.end() :])

    def _finish_line(self, size: int) -> None:
        """Take up a line of `size` bytes, its end included, whose first bytes are in `_rest`."""
        self._ready.append((self._at, self._rest, self._at + size))
        self._at, self._rest, self._overlong = self._at + size, b"", 0

    def _shorter(self, offset: int) -> ConfigError:
        return ConfigError(
            f"{self._name} is shorter than the {offset} bytes already read: it was cut or replaced. "
            "Register the new content as a connector of its own."
        )

"""The content of an opened file as it is meant: unpacked from gzip or zstd, told by its first bytes, and in UTF-8."""

from __future__ import annotations

import codecs
import gzip
import io
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa

BUFFER = 1_048_576
"""Bytes asked of the file at once."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer ones first, since one begins like another."""


class _Stream(Protocol):
    def read(self, size: int) -> bytes: ...
    def read1(self, size: int) -> bytes: ...


class Content:
    """A stream of bytes that can be read, and skipped forward in. Offsets count bytes of the content as it is meant."""

    def __init__(self, file: BinaryIO, encoding: str = "utf-8") -> None:
        """Takes `file` over and closes it in the end.

        What begins with the byte order mark of UTF-16 or UTF-32 is that, unless `encoding` says something else.
        """
        self._file = io.BufferedReader(cast(io.RawIOBase, file), BUFFER)  # which asks for `readinto` alone
        head = self._file.peek(4)[:4]
        self.packed = head[:2] == _GZIP or head == _ZSTD
        self._unpacked: Any = self._file
        self._stream: _Stream = self._file
        if self.packed:
            self._unpacked = gzip.GzipFile(fileobj=self._file, mode="rb") if head[:2] == _GZIP else _Zstd(self._file)
            head = self._unpacked.read(4)
            self._stream = _Begun(head, self._unpacked)
        encoding = codecs.lookup(encoding).name
        if encoding == "utf-8":
            encoding = next((name for mark, name in _WIDE if head.startswith(mark)), encoding)
        if encoding not in ("utf-8", "utf-8-sig"):
            self._stream = _Decoded(self._stream, encoding)
        self.plain = self._stream is self._file
        """Whether the content is what is in the file, byte for byte."""

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end alone. Raises EOFError when packed content is cut off or damaged."""
        return self._stream.read(size)

    def read1(self, size: int) -> bytes:
        """What can be had at once, about `size`; nothing at the end. Raises as `read`."""
        return self._stream.read1(size)

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`, from the beginning; past the end, nothing more is there to read."""
        if self.plain and self._file.seekable():
            self._file.seek(offset)
            return
        while offset > 0:
            skipped = len(self._stream.read(min(offset, BUFFER)))
            if not skipped:
                return
            offset -= skipped

    def close(self) -> None:
        """Close the file."""
        if self._unpacked is not self._file:
            self._unpacked.close()
        self._file.close()


class _Zstd:
    """Arrow reads frames one after the other in bounded memory, and notices an end that comes too early."""

    def __init__(self, file: BinaryIO) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        try:
            taken: bytes = self._stream.read(size)
        except OSError as error:
            if error.errno is not None:
                raise
            raise EOFError from None  # Arrow's own word for damage has no number
        return taken

    read1 = read

    def close(self) -> None:
        self._stream.close()


class _Begun:
    """A stream of which the first bytes were looked at."""

    def __init__(self, head: bytes, stream: _Stream) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + self._stream.read(size - len(head)) if size > len(head) else head

    def read1(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head or self._stream.read1(size)


class _Decoded:
    """A stream in another encoding, as UTF-8. Bytes that are no text of it become what is no UTF-8 either."""

    def __init__(self, stream: _Stream, encoding: str) -> None:
        wide = encoding.startswith(("utf-16", "utf-32"))
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass" if wide else "surrogateescape")
        self._stream = stream
        self._ahead = b""

    def read1(self, size: int) -> bytes:
        while not self._ahead:
            raw = self._stream.read1(size)
            try:
                text = self._decoder.decode(raw, final=not raw)
            except UnicodeDecodeError:  # half a character at the end, or code points beyond all
                raise EOFError from None
            self._ahead = text.encode("utf-8", "surrogatepass")
            if not raw:
                break
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size and (part := self.read1(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def is_text_encoding(name: str) -> bool:
    """Whether Python knows such an encoding of text."""
    try:
        return bool(codecs.lookup(name)._is_text_encoding)
    except (LookupError, ValueError):
        return False

"""The content of an opened file as it is meant: plain, or unpacked from gzip or zstd, told by its first bytes."""

from __future__ import annotations

import gzip
import io
from typing import Any, BinaryIO, cast

import pyarrow as pa

BUFFER = 1_048_576
"""Bytes asked of the file at once."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Content:
    """A stream of bytes that can be read, and skipped forward in. Offsets count bytes of the unpacked content."""

    def __init__(self, file: BinaryIO) -> None:
        """Takes `file` over and closes it in the end."""
        self._file = io.BufferedReader(cast(io.RawIOBase, file), BUFFER)  # which asks for `readinto` alone
        head = self._file.peek(4)[:4]
        self.packed = head[:2] == _GZIP or head == _ZSTD
        self._unpacked: Any = self._file
        if head[:2] == _GZIP:
            self._unpacked = gzip.GzipFile(fileobj=self._file, mode="rb")
        elif head == _ZSTD:
            self._unpacked = _Zstd(self._file)

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end alone. Raises EOFError when packed content is cut off or damaged."""
        found: bytes = self._unpacked.read(size)
        return found

    def read1(self, size: int) -> bytes:
        """What can be had at once, at most `size`; nothing at the end. Raises as `read`."""
        found: bytes = self._unpacked.read1(size)
        return found

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`, from the beginning; past the end, nothing more is there to read."""
        if not self.packed and self._file.seekable():
            self._file.seek(offset)
            return
        while offset > 0:
            skipped = len(self._unpacked.read(min(offset, BUFFER)))
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
            found: bytes = self._stream.read(size)
        except OSError as error:
            if error.errno is not None:
                raise
            raise EOFError from None  # Arrow's own word for damage has no number
        return found

    read1 = read

    def close(self) -> None:
        self._stream.close()

"""Counts what was read of files: lines, rows, records, where they are read (`clearwell.source.Counting`)."""

from __future__ import annotations

from typing import Protocol

from clearwell.source import Count


class Counted(Protocol):
    """What counts its items while it is read."""

    @property
    def items(self) -> int:
        """So far."""


class Tally:
    """The items of all files that were read, and of the one that is being read."""

    def __init__(self) -> None:
        self.held: int | None = None
        """As in `Count`."""
        self.spoilt = 0
        """Watched files that can't be read on as they are."""
        self._read = 0
        self._file: Counted | None = None

    def begin(self, file: Counted) -> None:
        """This file is read now."""
        self._file = file

    def end(self) -> None:
        """The file is closed."""
        if self._file is not None:
            self._read += self._file.items
        self._file = None

    def count(self, passed_over: int) -> Count:
        """As it is now; `passed_over`: what is no file of a known format."""
        return Count(self._read + (0 if self._file is None else self._file.items), self.held, passed_over + self.spoilt)

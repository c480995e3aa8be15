"""What is known of the finished files of a watched folder, in bounded size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

LIMIT = 500
"""Files remembered one by one; beyond, those that sort first are remembered as "all before this name"."""


class Done(NamedTuple):
    """How far a file was read: to `offset` of its content, when it had `size` bytes; `mark` as of `OpenFile.mark`.

    A file that could not be read to its end is `bad`. `size` is -1 where a former version did not note it.
    """

    offset: int = 0
    size: int = -1
    mark: str = ""
    bad: bool = False


class Finished:
    """Names of finished files, as short hashes. A file that is gone is forgotten."""

    def __init__(self, names: Iterable[str], floor: str) -> None:
        """`names` are as `names` gave them; all names that sort before `floor` are finished too."""
        self.floor = floor
        self._done = dict(_read(name) for name in names)

    def __contains__(self, key: str) -> bool:
        return key < self.floor or _hash(key) in self._done

    @property
    def names(self) -> list[str]:
        """For the position, sorted."""
        return sorted(_written(name, done) for name, done in self._done.items())

    def add(self, key: str, done: Done | None = None) -> None:
        """The file is finished, as far as it went."""
        self._done[_hash(key)] = done or Done()

    def remove(self, key: str) -> None:
        """The file is read on."""
        self._done.pop(_hash(key), None)

    def of(self, key: str) -> Done | None:
        """What is known of a finished file; None of one that is not, or sorts before the floor."""
        return self._done.get(_hash(key))

    def look(self, keys: Iterable[str]) -> None:
        """These files are there: forget others, and join the first ones when there are too many."""
        there = sorted(keys)
        known = {_hash(key): key for key in there if key >= self.floor}
        self._done = {name: done for name, done in self._done.items() if name in known}
        if len(self._done) > LIMIT:
            open_ones = [key for name, key in known.items() if name not in self._done]
            middle = sorted(known[name] for name in self._done)[len(self._done) // 2]
            self.floor = min([middle, *open_ones])
            self._done = {name: done for name, done in self._done.items() if known[name] >= self.floor}


def _hash(key: str) -> str:
    return hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _written(name: str, done: Done) -> str:
    if done.size < 0:
        return name
    return ":".join([name, str(done.offset), str(done.size), done.mark, *(["bad"] if done.bad else [])])


def _read(text: str) -> tuple[str, Done]:
    name, *parts = text.split(":")
    if len(parts) < 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return name, Done()
    return name, Done(int(parts[0]), int(parts[1]), parts[2], parts[3:] == ["bad"])

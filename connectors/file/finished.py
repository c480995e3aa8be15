"""Which files of a watched folder are finished, in bounded size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

LIMIT = 500
"""Files remembered one by one; beyond, those that sort first are remembered as "all before this name"."""


class Finished:
    """Names of finished files, as short hashes. A file that is gone is forgotten."""

    def __init__(self, names: Iterable[str], floor: str) -> None:
        """`names` are hashes; all names that sort before `floor` are finished too."""
        self.floor = floor
        self._hashes = set(names)

    def __contains__(self, key: str) -> bool:
        return key < self.floor or _hash(key) in self._hashes

    @property
    def names(self) -> list[str]:
        """For the position, sorted."""
        return sorted(self._hashes)

    def add(self, key: str) -> None:
        """The file is finished."""
        self._hashes.add(_hash(key))

    def look(self, keys: Iterable[str]) -> None:
        """These files are there: forget others, and join the first ones when there are too many."""
        there = sorted(keys)
        known = {_hash(key): key for key in there if key >= self.floor}
        self._hashes &= known.keys()
        if len(self._hashes) > LIMIT:
            open_ones = [key for name, key in known.items() if name not in self._hashes]
            middle = sorted(known[name] for name in self._hashes)[len(self._hashes) // 2]
            self.floor = min([middle, *open_ones])
            self._hashes = {name for name in self._hashes if known[name] >= self.floor}


def _hash(key: str) -> str:
    return hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).hexdigest()

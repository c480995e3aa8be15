"""Where each raw offset of one partition ended up, as one byte an offset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CLEAN, DROPPED, DEAD = 1, 2, 4


@dataclass(frozen=True, slots=True)
class PartitionBalance:
    """The accounts of raw offsets [first, next) of one partition, in events.

    `missing` ended nowhere, `doubled` in more than one place, `forged` are clean records that no raw event explains:
    all must be 0. `expired` were accounted for in records that retention has removed since. `repeats` are second copies
    of clean records after a crash, which every reader drops; `waiting` are events not yet cleaned, which are not
    counted in raw. `lost` are offsets before `first` that retention removed from raw before they were cleaned.
    """

    partition: int
    first: int
    next: int
    raw: int
    clean: int
    dropped: int
    dead: int
    missing: int
    doubled: int
    repeats: int
    waiting: int
    expired: int
    lost: int
    forged: int = 0

    @property
    def balanced(self) -> bool:
        """raw = clean + dropped + dead + expired, to the event."""
        wrong = self.missing or self.doubled or self.forged
        return not wrong and self.raw == self.clean + self.dropped + self.dead + self.expired


class Ledger:
    """Takes notes of one partition's range [first, next)."""

    def __init__(self, first: int, next_: int) -> None:
        self.first = first
        self.next = next_
        self._places = bytearray(max(0, next_ - first))
        self._lost: set[tuple[int, int]] = set()
        self._expired_before = first
        self.repeats = 0

    def note(self, ending: int, offsets: Iterable[int]) -> None:
        """`offsets` ended in `ending` (CLEAN, DROPPED or DEAD); offsets outside the range are passed over."""
        places, first, size = self._places, self.first, len(self._places)
        for offset in offsets:
            at = offset - first
            if 0 <= at < size:
                if places[at] & ending:
                    self.repeats += ending == CLEAN
                places[at] |= ending

    def note_lost(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Ranges [first, end) of offsets that were gone before they were read; a range may come twice, or overlap."""
        self._lost.update((first, min(end, self.first)) for first, end in ranges if first < min(end, self.first))

    def expire(self, offset: int) -> None:
        """What ended where is not known any more of offsets before this one: retention has removed accounts."""
        self._expired_before = max(self._expired_before, min(offset, self.next))

    def is_expired(self, offset: int) -> bool:
        """Whether the account of an offset that ended nowhere may have been removed."""
        return offset < self._expired_before

    def _count_lost(self) -> int:
        total = reached = 0
        for first, end in sorted(self._lost):
            total += max(0, end - max(first, reached))
            reached = max(reached, end)
        return total

    def unaccounted(self) -> list[int]:
        """Offsets that ended nowhere; a log may have holes, so ask raw whether they exist."""
        return [self.first + at for at, ending in enumerate(self._places) if ending == 0]

    def close(
        self, partition: int, holes: int, missing: int, expired: int, waiting: int, forged: int = 0
    ) -> PartitionBalance:
        """The accounts, given how many offsets hold no event, and how many are missing, expired or forged."""
        count = self._places.count
        single = {ending: count(bytes([ending])) for ending in (CLEAN, DROPPED, DEAD)}
        size = len(self._places)
        return PartitionBalance(
            partition=partition,
            first=self.first,
            next=self.next,
            raw=size - holes,
            clean=single[CLEAN],
            dropped=single[DROPPED],
            dead=single[DEAD],
            missing=missing,
            doubled=size - sum(single.values()) - holes - missing - expired,
            repeats=self.repeats,
            waiting=waiting,
            expired=expired,
            lost=self._count_lost(),
            forged=forged,
        )

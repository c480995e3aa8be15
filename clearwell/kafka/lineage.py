"""Whether a log is still the one that was read (KIP-320): a position is true while the records before it are there.

A power cut without fsync, or an unclean leader election, takes the end of a log away; the broker then gives the same
offsets to other events. Each time a partition gets a leader its leader epoch grows, and the broker remembers where each
epoch ends. So beside each position stands the epoch under which it was reached: an epoch that ends before the position
tells that the log has parted from what was read, and where. The time of the last record read proves the contrary where
the epoch that we knew was not the newest: a record keeps the time that the broker gave it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from clearwell.errors import Fatal

UNKNOWN = -1

EPOCH, TIME = "~epoch", "~time"
"""Kept among high watermarks, beside raw topic ids (of 22 characters): a position's leader epoch and last time."""

MOST_EPOCHS = 20_000
"""Leader epochs that are tried to tell a branch of a topic from a foreign id."""


class Parted(Fatal):
    """A log is no longer the one that was read."""

    def __init__(self, topic: str, partition: int, end: int, position: int, way: str) -> None:
        """`way` says what to do, as a whole sentence; the log and what was read are the same before offset `end`."""
        super().__init__(
            f"{topic}, partition {partition}: Kafka has lost what was read of it at offsets {end} to {position - 1}, "
            f"and has or will have other events there (a power cut, or an unclean leader election). {way}"
        )
        self.end = end


@dataclass(frozen=True, slots=True)
class Point:
    """The offset to read next, the leader epoch under which it was reached, the time of the record before it (ms)."""

    offset: int
    epoch: int = UNKNOWN
    time: int = UNKNOWN

    @classmethod
    def of(cls, offset: int, high_watermarks: Mapping[str, int]) -> Point:
        """A position as it is kept among high watermarks."""
        return cls(offset, high_watermarks.get(EPOCH, UNKNOWN), high_watermarks.get(TIME, UNKNOWN))

    @property
    def high_watermarks(self) -> dict[str, int]:
        """How it is kept among high watermarks."""
        return {name: known for name, known in ((EPOCH, self.epoch), (TIME, self.time)) if known >= 0}


@dataclass(frozen=True, slots=True)
class Log:
    """What is asked of Kafka about one topic; the functions block and raise Retryable.

    `end_of(partition, epoch)` is where an epoch ends, -1 where that is not known; `time_at(partition, offset)` is the
    time of a record, None where there is none.
    """

    topic: str
    end_of: Callable[[int, int], int]
    time_at: Callable[[int, int], int | None]

    def parted_at(self, partition: int, point: Point, epoch: int) -> int | None:
        """Where the log parts from what was read up to `point`; None where it does not. `epoch` is the present one."""
        if point.epoch == epoch or point.offset == 0:
            return None
        end = self.end_of(partition, point.epoch if point.epoch >= 0 else epoch)
        if not 0 <= end < point.offset:
            return None
        same = point.time >= 0 and self.time_at(partition, point.offset - 1) == point.time
        return None if same else end


class Lineage:
    """The positions of one reader of a topic, each checked when its partition has another leader epoch than before."""

    def __init__(self, log: Log, way: str | Callable[[int, int], str]) -> None:
        """`way` says what to do where they part; or is called with the partition and the offset where."""
        self._log = log
        self._way = way
        self._points: dict[int, Point] = {}

    def point(self, partition: int) -> Point:
        """Where the reader is."""
        return self._points.get(partition, Point(0))

    def begin(self, points: Mapping[int, Point]) -> None:
        """The reader has these partitions now, and no others."""
        self._points = dict(points)

    def move(self, partition: int, offset: int, time: int) -> None:
        """The reader goes on; `time` is that of the record before `offset`."""
        self._points[partition] = replace(self.point(partition), offset=offset, time=time)

    def changed(self, epochs: Mapping[int, int]) -> dict[int, Point]:
        """The positions of partitions whose leader epoch is another one."""
        return {at: point for at, point in self._points.items() if epochs.get(at, point.epoch) != point.epoch}

    def check(self, points: Mapping[int, Point], epochs: Mapping[int, int]) -> None:
        """Blocks. Raises Parted, and Retryable where Kafka can't say now."""
        for partition, point in points.items():
            end = self._log.parted_at(partition, point, epochs[partition])
            if end is not None:
                way = self._way if isinstance(self._way, str) else self._way(partition, end)
                raise Parted(self._log.topic, partition, end, point.offset, way)

    def adopt(self, points: Mapping[int, Point], epochs: Mapping[int, int]) -> None:
        """What was checked holds under the present epochs."""
        for partition in points:
            if partition in self._points:
                self._points[partition] = replace(self._points[partition], epoch=epochs[partition])


def branch_id(topic_id: str, epoch: int) -> str:
    """The origin of what is cleaned from where a raw log has parted: as a topic's id, and of no topic.

    Its offsets were used before, by events that Kafka has lost: under the topic's own id they would pass for repeats.
    """
    digest = hashlib.sha256(f"{topic_id}/{epoch}".encode()).digest()[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@lru_cache(maxsize=1_000)
def is_branch(topic_id: str, origin: str) -> bool:
    """Whether `origin` is a branch of a topic."""
    return any(branch_id(topic_id, epoch) == origin for epoch in range(MOST_EPOCHS))


def way_out(stream: str) -> str:
    """What to do where the positions are in Kafka, or a cleaner's work depends on them."""
    return (
        f"Nothing more is read until somebody has seen it: `clearwell stream realign {stream}` tells what is lost, and "
        "goes on from where the two part."
    )

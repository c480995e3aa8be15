"""Which events a folder holds already, as the names of its files say: so that each is there once (invariant 3).

A name is <raw topic id>.<raw partition>.<first>-<last raw offset>.<events>.<tag><ending>, so that names sort as events
came. The tag is that of the batch: written again it replaces itself, and no other file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from clearwell.destinations.files.content import raw_offsets
from clearwell.destinations.files.store import FileStore
from clearwell.destinations.protocol import CleanBatch
from clearwell.errors import Fatal

_NAME = re.compile(
    r"(?P<topic>[\w-]+)\.(?P<partition>\d+)\.(?P<first>\d+)-(?P<last>\d+)\.(?P<events>\d+)\.[0-9a-f]{12}"
    r"\.(parquet|ndjson(\.zst|\.gz)?)"
)
_READ_FILES = 64
"""Files whose offsets are remembered, in a replay that goes through them in order."""


class EventFile(NamedTuple):
    """One file by its name."""

    path: str
    topic: str
    partition: int
    first: int
    last: int
    events: int

    @classmethod
    def of(cls, path: str) -> Self | None:
        """None for a file that is not ours."""
        found = _NAME.fullmatch(path.rpartition("/")[2])
        if found is None:
            return None
        return cls(path, found["topic"], *(int(found[name]) for name in ("partition", "first", "last", "events")))


def piece_of(folder: str, batch: CleanBatch, chosen: Sequence[int], group: str, ending: str) -> EventFile:
    """The file that the rows of `batch` at `chosen`, all of one raw topic, go to."""
    topic, offsets = batch.raw_topics[chosen[0]], [batch.raw_offsets[index] for index in chosen]
    batch_name = f"{group} {batch.topic_id} {batch.epoch} {batch.next_offset}"
    tag = hashlib.blake2b(batch_name.encode(), digest_size=6).hexdigest()
    first, last = min(offsets), max(offsets)
    name = f"{topic}.{batch.partition:05}.{first:019}-{last:019}.{len(chosen)}.{tag}{ending}"
    return EventFile(f"{folder}/{name}", topic, batch.partition, first, last, len(chosen))


class Index:
    """The files of one folder. Right as long as nobody else writes events of the partitions that are written here."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._pieces: dict[tuple[str, int], list[EventFile]] | None = None
        self._read: dict[str, frozenset[int]] = {}

    def forget(self) -> None:
        """The next question lists the folder anew."""
        self._pieces = None

    def count(self) -> int:
        """How many events there are, as the names say now."""
        return sum(piece.events for path in self._store.find() if (piece := EventFile.of(path)))

    def add(self, pieces: Iterable[EventFile]) -> None:
        """Files that were written."""
        for piece in pieces:
            self._known().setdefault((piece.topic, piece.partition), []).append(piece)

    def absent(self, batch: CleanBatch) -> list[int]:
        """Indexes of the rows that are not there yet, each event once. Those of a replay are looked up in the files."""
        chosen: list[int] = []
        seen: dict[str, set[int]] = {}
        for topic in dict.fromkeys(batch.raw_topics):
            pieces = self._known().get((topic, batch.partition), [])
            offsets = [o for t, o in zip(batch.raw_topics, batch.raw_offsets, strict=True) if t == topic]
            low, high = min(offsets), max(offsets)
            near = (piece for piece in pieces if piece.first <= high and low <= piece.last)
            seen[topic] = set().union(*(self._offsets(piece) for piece in near))
        for index, (topic, offset) in enumerate(zip(batch.raw_topics, batch.raw_offsets, strict=True)):
            if offset not in seen[topic]:
                seen[topic].add(offset)
                chosen.append(index)
        return chosen

    def _known(self) -> dict[tuple[str, int], list[EventFile]]:
        if self._pieces is None:
            self._pieces = {}
            for path in self._store.find():
                piece = EventFile.of(path)
                if piece is not None:
                    self._pieces.setdefault((piece.topic, piece.partition), []).append(piece)
        return self._pieces

    def _offsets(self, piece: EventFile) -> frozenset[int]:
        found = self._read.get(piece.path)
        if found is None:
            data = self._store.get(piece.path)
            try:
                found = frozenset() if data is None else raw_offsets(piece.path, data)
            except Exception as error:  # whatever a library says of bytes that are no longer what we wrote
                raise Fatal(
                    f"A file of {self._store.shown} can't be read ({type(error).__name__}), so nobody can tell which "
                    f"events are there: put {piece.path} right, or away."
                ) from None
            if len(self._read) >= _READ_FILES:
                self._read.pop(next(iter(self._read)))
            self._read[piece.path] = found
        return found

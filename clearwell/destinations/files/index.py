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
from clearwell.destinations.files.store import FolderStore
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
        match = _NAME.fullmatch(path.rpartition("/")[2])
        if match is None:
            return None
        return cls(path, match["topic"], *(int(match[name]) for name in ("partition", "first", "last", "events")))


def piece_of(folder: str, batch: CleanBatch, indexes: Sequence[int], group: str, ending: str) -> EventFile:
    """The file that the rows of `batch` at `indexes`, all of one raw topic, go to."""
    topic, offsets = batch.raw_topics[indexes[0]], [batch.raw_offsets[index] for index in indexes]
    batch_name = f"{group} {batch.topic_id} {batch.epoch} {batch.next_offset}"
    tag = hashlib.blake2b(batch_name.encode(), digest_size=6).hexdigest()
    first, last = min(offsets), max(offsets)
    name = f"{topic}.{batch.partition:05}.{first:019}-{last:019}.{len(indexes)}.{tag}{ending}"
    return EventFile(f"{folder}/{name}", topic, batch.partition, first, last, len(indexes))


class Index:
    """The files of one folder. Right as long as nobody else writes events of the partitions that are written here."""

    def __init__(self, store: FolderStore) -> None:
        self._store = store
        self._pieces: dict[tuple[str, int], list[EventFile]] | None = None
        self._read: dict[str, frozenset[int]] = {}

    def forget(self) -> None:
        """The next question lists the folder anew."""
        self._pieces = None

    def count(self) -> int:
        """How many events there are, as the names say now."""
        return sum(file.events for path in self._store.find() if (file := EventFile.of(path)))

    def add(self, files: Iterable[EventFile]) -> None:
        """Files that were written."""
        for file in files:
            self._known().setdefault((file.topic, file.partition), []).append(file)

    def absent(self, batch: CleanBatch) -> list[int]:
        """Indexes of the rows that are not there yet, each event once. Those of a replay are looked up in the files."""
        indexes: list[int] = []
        seen: dict[str, set[int]] = {}
        for topic in dict.fromkeys(batch.raw_topics):
            files = self._known().get((topic, batch.partition), [])
            offsets = [o for t, o in zip(batch.raw_topics, batch.raw_offsets, strict=True) if t == topic]
            low, high = min(offsets), max(offsets)
            near = (file for file in files if file.first <= high and low <= file.last)
            seen[topic] = set().union(*(self._offsets(file) for file in near))
        for index, (topic, offset) in enumerate(zip(batch.raw_topics, batch.raw_offsets, strict=True)):
            if offset not in seen[topic]:
                seen[topic].add(offset)
                indexes.append(index)
        return indexes

    def _known(self) -> dict[tuple[str, int], list[EventFile]]:
        if self._pieces is None:
            self._pieces = {}
            for path in self._store.find():
                file = EventFile.of(path)
                if file is not None:
                    self._pieces.setdefault((file.topic, file.partition), []).append(file)
        return self._pieces

    def _offsets(self, file: EventFile) -> frozenset[int]:
        offsets = self._read.get(file.path)
        if offsets is None:
            data = self._store.get(file.path)
            try:
                offsets = frozenset() if data is None else raw_offsets(file.path, data)
            except Exception as error:  # whatever a library says of bytes that are no longer what we wrote
                raise Fatal(
                    f"A file of {self._store.shown} can't be read ({type(error).__name__}), so nobody can tell which "
                    f"events are there: put {file.path} right, or away."
                ) from None
            if len(self._read) >= _READ_FILES:
                self._read.pop(next(iter(self._read)))
            self._read[file.path] = offsets
        return offsets

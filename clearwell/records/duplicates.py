"""Tells repeats from news: one integer for each raw topic is enough, since order is kept (invariant 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Repeats:
    """The highest raw offset seen in one clean partition, for each raw topic id.

    A cleaner that dies after producing and before committing cleans the same raw events again, so a stretch of clean
    records comes twice; in each partition raw offsets rise, so whatever does not advance the mark was seen before.
    """

    def __init__(self, marks: Mapping[str, int] | None = None) -> None:
        """`marks` as another instance left them: raw topic id → highest raw offset."""
        self._marks = dict(marks or {})

    @property
    def marks(self) -> Mapping[str, int]:
        """Highest raw offset by raw topic id, as of the last record asked about; a copy."""
        return dict(self._marks)

    def fresh(self, topic_id: str, offset: int) -> bool:
        """Whether this raw event is new; takes note of it."""
        if offset <= self._marks.get(topic_id, -1):
            return False
        self._marks[topic_id] = offset
        return True

    def fresh_many(self, topic_ids: Sequence[str], offsets: Sequence[int]) -> list[bool]:
        """`fresh` for records in order (both of the same length); one comparison a record."""
        marks, current, highest, result = self._marks, "", -1, []
        for topic_id, offset in zip(topic_ids, offsets, strict=True):
            if topic_id != current:
                if current:
                    marks[current] = highest
                current, highest = topic_id, marks.get(topic_id, -1)
            new = offset > highest
            if new:
                highest = offset
            result.append(new)
        if current:
            marks[current] = highest
        return result

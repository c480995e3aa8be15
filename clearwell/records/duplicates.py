"""Tells duplicates from new records: one integer for each raw topic is enough, since order is kept (invariant 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Duplicates:
    """The highest raw offset seen in one clean partition, for each raw topic id.

    A cleaner that dies after producing and before committing cleans the same raw events again, so a stretch of clean
    records comes twice; in each partition raw offsets rise, so whatever does not advance the mark was seen before.
    """

    def __init__(self, high_watermarks: Mapping[str, int] | None = None) -> None:
        """`high_watermarks` as another instance left them: raw topic id → highest raw offset."""
        self._high_watermarks = dict(high_watermarks or {})

    @property
    def high_watermarks(self) -> Mapping[str, int]:
        """Highest raw offset by raw topic id, as of the last record asked about; a copy."""
        return dict(self._high_watermarks)

    def are_new(self, topic_ids: Sequence[str], offsets: Sequence[int]) -> list[bool]:
        """Whether each raw event is new, in order (both of the same length); takes note of them."""
        high_watermarks, current, highest, result = self._high_watermarks, "", -1, []
        for topic_id, offset in zip(topic_ids, offsets, strict=True):
            if topic_id != current:
                if current:
                    high_watermarks[current] = highest
                current, highest = topic_id, high_watermarks.get(topic_id, -1)
            new = offset > highest
            if new:
                highest = offset
            result.append(new)
        if current:
            high_watermarks[current] = highest
        return result

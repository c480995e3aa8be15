"""Whether raw events explain clean records: who may write to a clean topic could else forge their origin (invariant 3).

A record is explained by an offset of raw that is there, or was. One beyond raw's end would pass for the newest for
ever, and every event after it for a repeat; one of a topic that raw never was has nothing behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from clearwell.backoff import retry_until_available
from clearwell.kafka.lineage import is_branch

log = logging.getLogger(__name__)

Raw = tuple[str, Mapping[int, int]]
"""The id of the raw topic, and the offset that the next record of each partition will get."""


class Origins:
    """Knows how far raw goes; it is asked again only for records beyond what is known."""

    def __init__(self, ask: Callable[[], Raw]) -> None:
        """`ask` is asked by `refresh`, and raises as `clearwell.kafka.admin` does."""
        self._ask = ask
        self._topic_id = ""
        self._ends: Mapping[int, int] = {}

    def refresh(self) -> None:
        """Learn how far raw goes now; blocks, and asks again where Kafka can't say just now."""
        self._topic_id, self._ends = retry_until_available(self._ask)

    def explain(self, partition: int, topics: Sequence[str], offsets: Sequence[int]) -> bool:
        """Whether what is known of raw explains all records of a clean partition; cheap."""
        if not topics:
            return True
        return topics.count(self._topic_id) == len(topics) and max(offsets) < self._ends.get(partition, 0)

    def explained(
        self, partition: int, topics: Sequence[str], offsets: Sequence[int], known: Collection[str]
    ) -> list[bool]:
        """For each record whether raw explains it; `known` are ids of raw topics that were seen before these records.

        Records of a raw topic that is no more come before those of the one that took its place, never after them.
        """
        end, begun = self._ends.get(partition, 0), self._topic_id in known
        begun = begun or any(len(of) == len(self._topic_id) and is_branch(self._topic_id, of) for of in known)
        result = []
        for topic_id, offset in zip(topics, offsets, strict=True):
            if topic_id == self._topic_id or is_branch(self._topic_id, topic_id):
                begun = True
                result.append(0 <= offset < end)
            else:
                result.append(not begun and offset >= 0)
        return result


def warn_of_forged(topic: str, partition: int, offsets: Sequence[int]) -> None:
    """Say which records of a clean topic are passed over."""
    log.error(
        "%s: partition %d: %d records from offset %d on are passed over, as no raw event explains them: something "
        "other than a Clearwell cleaner writes to this topic. `clearwell balance` counts them.",
        topic, partition, len(offsets), offsets[0],
    )  # fmt: skip

"""Where a model stands in one clean partition, as it is kept in the consumer group's commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

KEPT_TOPICS = 50
"""Raw topics whose high watermarks a commit carries: Kafka takes 4,096 bytes, each is below 50."""


class _Note(msgspec.Struct, frozen=True):
    """What is stored beside a committed offset: the clean topic's id, and the high watermarks of `Duplicates`."""

    topic: str
    high_watermarks: dict[str, int] = msgspec.field(name="marks")


_decoder = msgspec.json.Decoder(_Note)


@dataclass(frozen=True, slots=True)
class Position:
    """The clean offset to read next, in one incarnation of the clean topic, and what was seen up to it."""

    topic_id: str
    offset: int
    high_watermarks: Mapping[str, int] = field(default_factory=dict)

    def stored(self) -> tuple[int, str]:
        """The offset, and the text beside it, as Kafka stores them."""
        newest = dict(list(self.high_watermarks.items())[-KEPT_TOPICS:])
        return self.offset, msgspec.json.encode(_Note(self.topic_id, newest)).decode()


def resume(stored: tuple[int, str] | None, topic_id: str) -> Position:
    """Where to go on in a partition; retention may have removed that offset.

    Nothing committed: at the beginning. Committed for this topic: there. Committed for an earlier incarnation of the
    topic: at the beginning, as Kafka itself does (it forgets a group's offsets of a deleted topic). An offset without
    our note was set by a person with Kafka's own tools: it is taken as it is, and what follows is new.
    """
    if stored is None:
        return Position(topic_id, 0)
    offset, text = stored
    try:
        note = _decoder.decode(text)
    except msgspec.DecodeError:
        return Position(topic_id, offset)
    return Position(topic_id, offset, note.high_watermarks) if note.topic == topic_id else Position(topic_id, 0)

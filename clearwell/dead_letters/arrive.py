"""Records of a dead topic → arrivals for the registry. Whatever a record holds, it becomes exactly one arrival.

Anyone who may write to the topic may write any header. What decides about a letter, which event it is and of which
destination, counts only because the seal holds it too: an envelope opens under its stream, place and destination alone.
A record that does not open is none of ours: its coordinates in the dead topic are kept, nothing that it says or holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from clearwell.kafka.names import dead_topic
from clearwell.privacy.envelope import SealError
from clearwell.privacy.keyring import Keyring
from clearwell.records import dead_letter
from clearwell.records.dead_letter import DeadLetter
from clearwell.registry.dead_arrivals import Arrival
from clearwell.registry.dead_letters import LetterState

NOT_OURS = "not a dead letter of ours"
"""The reason of a record that something else wrote, or that was changed: it can be looked at and dropped, no more."""

_TOPIC_ID = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_SCHEMA = re.compile(r"[^/]+/v([1-9][0-9]{0,3})\Z")
_MOST_TEXT = 500
_MOST_OFFSET = 2**63 - 1


class Judge:
    """Judges the records of one stream's dead topic."""

    def __init__(self, stream: str, keyring: Keyring) -> None:
        self.stream = stream
        self._keyring = keyring
        self._topic = dead_topic(stream)

    def arrivals(self, topic_id: str, partition: int, records: Sequence[Any]) -> list[Arrival]:
        """One a record, in order; `topic_id` is that of the dead topic."""
        return [self._arrival(topic_id, partition, record) for record in records]

    def _arrival(self, topic_id: str, partition: int, record: Any) -> Arrival:
        at = datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)
        try:
            letter = dead_letter.read(record.headers)
            return self._ours(letter, topic_id, partition, record, at)
        except (ValueError, TypeError, AttributeError, SealError):
            return self._foreign(topic_id, partition, record, at)

    def _ours(self, letter: DeadLetter, topic_id: str, partition: int, record: Any, at: datetime) -> Arrival:
        """Raises ValueError or SealError where it is not."""
        version = _checked(letter, partition)
        clear = dead_letter.open_letter(self._keyring, self.stream, letter, record.value)
        return Arrival(
            stream=self.stream,
            destination=letter.destination or "",
            raw_topic=letter.topic_id,
            raw_partition=letter.partition,
            raw_offset=letter.offset,
            ours=True,
            reason=letter.reason,
            step=letter.step,
            field=letter.field,
            version=version,
            size=len(clear),
            sealed=record.value.decode("ascii"),
            dead_topic=topic_id,
            dead_partition=partition,
            dead_offset=record.offset,
            clean_topic=letter.clean_topic_id,
            clean_partition=None if letter.destination is None else letter.partition,
            clean_offset=letter.clean_offset,
            rejected_at=at,
            state=LetterState.WAITING,
        )

    def _foreign(self, topic_id: str, partition: int, record: Any, at: datetime) -> Arrival:
        return Arrival(
            stream=self.stream,
            destination="",
            raw_topic=topic_id,  # its only identity: where it is in the dead topic
            raw_partition=partition,
            raw_offset=record.offset,
            ours=False,
            reason=NOT_OURS,
            step="",
            field="",
            version=0,
            size=len(record.value or b""),
            sealed=None,
            dead_topic=topic_id,
            dead_partition=partition,
            dead_offset=record.offset,
            clean_topic=None,
            clean_partition=None,
            clean_offset=None,
            rejected_at=at,
            state=LetterState.PARKED,
        )


def _checked(letter: DeadLetter, partition: int) -> int:
    """The contract's version. Raises ValueError where something can't be: both letters and events keep partitions."""
    schema = _SCHEMA.match(letter.schema)
    texts = (letter.reason, letter.step, letter.field, letter.destination or "")
    topics = (letter.topic_id, letter.clean_topic_id or letter.topic_id)
    offsets = (letter.offset, letter.clean_offset or 0)
    fine = (
        letter.partition == partition
        and all(0 <= offset <= _MOST_OFFSET for offset in offsets)
        and all(_TOPIC_ID.match(topic) for topic in topics)
        and all(len(text) <= _MOST_TEXT and text.isprintable() for text in texts)
        and letter.destination != ""
    )
    if schema is None or not fine:
        raise ValueError("a header of a dead letter can't be one of ours")
    return int(schema[1])

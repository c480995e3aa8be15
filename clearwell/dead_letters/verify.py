"""Records of a dead topic → dead letters for the registry. Whatever a record holds, it becomes exactly one.

Anyone who may write to the topic may write any header. What decides about a dead letter, which event it is and of which
destination, counts only because the seal holds it too: an envelope opens under its stream, place and destination alone.
A record that does not open is none of ours: its coordinates in the dead topic are kept, nothing that it says or holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from clearwell.privacy.envelope import SealError
from clearwell.privacy.keyring import Keyring
from clearwell.records import dead_letter
from clearwell.records.dead_letter import DeadLetter
from clearwell.registry.dead_letter_intake import CopiedDeadLetter
from clearwell.registry.dead_letters import DeadLetterState

NOT_OURS = "not a dead letter of ours"
"""The reason of a record that something else wrote, or that was changed: it can be looked at and discarded, no more."""

_TOPIC_ID = re.compile(r"[A-Za-z0-9_-]{22}\Z")
_MOST_TEXT = 500
_MOST_OFFSET = 2**63 - 1


class DeadTopicVerifier:
    """Verifies the records of one stream's dead topic."""

    def __init__(self, stream: str, keyring: Keyring) -> None:
        self.stream = stream
        self._keyring = keyring

    def verify(self, topic_id: str, partition: int, records: Sequence[Any]) -> list[CopiedDeadLetter]:
        """One a record, in order; `topic_id` is that of the dead topic."""
        return [self._verify(topic_id, partition, record) for record in records]

    def _verify(self, topic_id: str, partition: int, record: Any) -> CopiedDeadLetter:
        rejected_at = datetime.fromtimestamp(max(record.timestamp, 0) / 1000, UTC)
        try:
            letter = dead_letter.read(record.headers)
            self._require_possible(letter, partition)
            envelope = record.value.decode("ascii")
            size = len(dead_letter.open_event(self._keyring, letter, envelope))
        except (ValueError, TypeError, AttributeError, SealError):
            return self._foreign(topic_id, partition, record, rejected_at)
        return CopiedDeadLetter(
            **asdict(letter),
            ours=True,
            size=size,
            sealed=envelope,
            dead_topic_id=topic_id,
            dead_offset=record.offset,
            rejected_at=rejected_at,
            state=DeadLetterState.WAITING,
        )

    def _foreign(self, topic_id: str, partition: int, record: Any, rejected_at: datetime) -> CopiedDeadLetter:
        return CopiedDeadLetter(
            stream=self.stream,
            version=0,
            origin_topic_id=topic_id,  # its only identity: where it is in the dead topic
            raw_partition=partition,
            raw_offset=record.offset,
            reason=NOT_OURS,
            step="",
            field="",
            ours=False,
            size=len(record.value or b""),
            sealed=None,
            dead_topic_id=topic_id,
            dead_offset=record.offset,
            rejected_at=rejected_at,
            state=DeadLetterState.PARKED,
        )

    def _require_possible(self, letter: DeadLetter, partition: int) -> None:
        """Raises ValueError where something can't be: both dead letters and events keep partitions."""
        texts = (letter.reason, letter.step, letter.field, letter.destination, letter.connector)
        topics = (letter.origin_topic_id, letter.clean_topic_id or letter.origin_topic_id)
        offsets = (letter.raw_offset, letter.clean_offset or 0)
        if not (
            letter.stream == self.stream
            and letter.raw_partition == partition
            and all(0 <= offset <= _MOST_OFFSET for offset in offsets)
            and all(_TOPIC_ID.match(topic) for topic in topics)
            and all(len(text) <= _MOST_TEXT and text.isprintable() for text in texts)
        ):
            raise ValueError("a header of a dead letter can't be one of ours")

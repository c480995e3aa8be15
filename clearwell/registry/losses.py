"""What retention removed before a consumer group of ours had read it (invariant 11).

The balance counts it from the log; this is for the status, which reads no log. All functions work in the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.registry.models import LossRow


@dataclass(frozen=True, slots=True)
class Loss:
    """Offsets [first, end) of one partition, in one incarnation of its topic."""

    topic_id: str
    partition: int
    first: int
    end: int


def record(session: Session, group: str, loss: Loss) -> None:
    """A group has met a loss; the same one again, as after a crash, changes nothing."""
    row = LossRow
    query = insert(row).values(
        group_name=group, topic_id=loss.topic_id, partition=loss.partition, first=loss.first, next_offset=loss.end
    )
    longer = func.greatest(row.next_offset, query.excluded.next_offset)
    keys = ["group_name", "topic_id", "partition", "first"]
    session.execute(query.on_conflict_do_update(index_elements=keys, set_={"next_offset": longer}))


def totals(session: Session) -> Mapping[str, int]:
    """Lost offsets by group, all in all; groups that lost none are left out."""
    query = select(LossRow.group, func.sum(LossRow.next_offset - LossRow.first)).group_by(LossRow.group)
    return {group: int(lost) for group, lost in session.execute(query)}

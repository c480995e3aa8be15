"""Where models stand, beside their commits in Kafka: it forgets a group that nobody was in for a week.

Kafka's commits are the truth while they are there; these may be some seconds older. All functions work in the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.registry.models import SubscriptionPositionRow

Stored = tuple[int, str]
"""The clean offset to read next, and what is committed beside it."""


def load(session: Session, name: str, topic_id: str) -> dict[int, Stored]:
    """Where a model stood in one incarnation of its clean topic, by partition."""
    row = SubscriptionPositionRow
    query = select(row).where(row.name == name, row.topic_id == topic_id)
    return {saved.partition: (saved.next_offset, saved.note) for saved in session.scalars(query)}


def save(session: Session, name: str, topic_id: str, positions: Mapping[int, Stored]) -> None:
    """Remember where a model stands, by partition."""
    for partition, (offset, note) in sorted(positions.items()):
        values = {"next_offset": offset, "note": note, "updated_at": func.now()}
        query = insert(SubscriptionPositionRow).values(name=name, topic_id=topic_id, partition=partition, **values)
        keys = ["name", "topic_id", "partition"]
        session.execute(query.on_conflict_do_update(index_elements=keys, set_=values))

"""Two transactions never change one thing at once, also where it has no row of its own."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def lock(session: Session, target: str) -> None:
    """Wait until no other transaction holds `target`, as the audit calls it, and hold it until this one ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(target, 0))))

"""Collectors and workers in the registry: which live, how loaded they are, and which are to give away what they have.

All work in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from clearwell.registry import audit
from clearwell.registry.models import LeaseRow, ProcessRow

SILENT = timedelta(seconds=15)
"""A process that holds nothing and gave no sign of life for so long is gone: it gives one every few seconds."""


@dataclass(frozen=True, slots=True)
class RegisteredProcess:
    """A collector or a worker (`kind`); see `ProcessRow`. `held`: how many connectors or jobs it has now.

    `is_gone`: it ended without saying so, or is cut off.
    """

    id: str
    kind: str
    name: str
    scope: str
    held: int
    is_draining: bool
    is_gone: bool
    busy: float
    rss_mb: float
    endpoint: str
    started_at: datetime
    seen_at: datetime


def list_processes(session: Session) -> list[RegisteredProcess]:
    """All by kind and name. Of one that came back under its name only the newest: the others are gone."""
    now = func.clock_timestamp()
    held = (
        select(LeaseRow.holder, func.count().label("held"))
        .where(LeaseRow.until > now)
        .group_by(LeaseRow.holder)
        .subquery()
    )
    count = func.coalesce(held.c.held, 0)
    is_gone = (count == 0) & (ProcessRow.seen_at < now - SILENT)
    query = (
        select(ProcessRow, count.label("held"), is_gone.label("is_gone"))
        .outerjoin(held, held.c.holder == ProcessRow.id)
        .order_by(ProcessRow.kind, ProcessRow.name, ProcessRow.started_at)
    )
    newest = {(row.ProcessRow.kind, row.ProcessRow.name): row for row in session.execute(query)}
    return [_registered(row.ProcessRow, row.held, row.is_gone) for row in newest.values()]


def set_draining(session: Session, ids: Collection[str], draining: bool, name: str) -> None:
    """Have processes give away what they have and take nothing more, or take their share again."""
    session.execute(update(ProcessRow).where(ProcessRow.id.in_(ids)).values(draining=draining))
    audit.record(session, "drain" if draining else "take again", target(name))


def target(name: str) -> str:
    """What the audit calls a collector or a worker."""
    return f"worker/{name}"


def _registered(row: ProcessRow, held: int, is_gone: bool) -> RegisteredProcess:
    return RegisteredProcess(
        row.id, row.kind, row.name, row.scope, held, row.draining, is_gone, row.busy, row.rss_mb, row.endpoint,
        row.started_at, row.seen_at,
    )  # fmt: skip

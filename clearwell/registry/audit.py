"""Who changed what, and when: one row a change, in the change's own transaction."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from clearwell.registry.models import AuditRow

_ACTOR = "clearwell.actor"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. `object` is "<kind>/<name>"; `detail` holds no secrets and no personal data.

    `face` is how they came in ("cli", "api"), `reason` what they said; both are empty where that is not known.
    """

    at: datetime
    who: str
    face: str
    reason: str
    action: str
    object: str
    detail: Mapping[str, Any]


def actor() -> str:
    """Who is acting: CLEARWELL_ACTOR, or the name of the operating system's user."""
    try:
        return os.environ.get("CLEARWELL_ACTOR") or getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"uid {os.getuid()}"


def act_as(session: Session, name: str, face: str, reason: str) -> None:
    """From now on what is recorded in this session is told of this actor."""
    session.info[_ACTOR] = (name, face, reason)


def record(session: Session, action: str, target: str, detail: Mapping[str, Any] | None = None) -> None:
    """Add one entry; it is kept or lost together with the change it tells of."""
    who, face, reason = session.info.get(_ACTOR) or (actor(), "", "")
    row = AuditRow(who=who, face=face, reason=reason, action=action, object=target, detail=dict(detail or {}))
    session.add(row)


def entries(session: Session, target: str | None = None, limit: int = 100, *, prefix: bool = False) -> list[AuditEntry]:
    """The newest entries, newest first, of one object or of all; with `prefix` of all that begin so ("connector/")."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if target is not None:
        of = AuditRow.object.startswith(target, autoescape=True) if prefix else AuditRow.object == target
        query = query.where(of)
    return [
        AuditEntry(row.at, row.who, row.face, row.reason, row.action, row.object, row.detail)
        for row in session.scalars(query)
    ]

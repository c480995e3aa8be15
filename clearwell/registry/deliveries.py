"""Deliveries: jobs by the destination they fill, which a person may pause. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.contract.model import Contract
from clearwell.kafka.names import deliverer_group
from clearwell.registry import audit
from clearwell.registry.jobs import JobHealth, JobKind, JobState, WantedState
from clearwell.registry.models import JobRow


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is delivered where, and by which consumer group."""

    group: str
    stream: str
    version: int
    destination: str


@dataclass(frozen=True, slots=True)
class RegisteredDelivery:
    """What the registry knows of a delivery; `paused` is what a person wants, the health what the deliverer said."""

    delivery: Delivery
    paused: bool
    health: JobHealth
    updated_at: datetime

    @property
    def state(self) -> JobState:
        """Paused as soon as a person wants it, else what the deliverer said."""
        return JobState.PAUSED if self.paused else self.health.state


def deliveries_of(contract: Contract) -> list[Delivery]:
    """One for each route of a contract."""
    stream, version = contract.stream, contract.version
    return [
        Delivery(deliverer_group(stream, version, route.to), stream, version, route.to) for route in contract.routes
    ]


def is_paused(session: Session, group: str, *, for_update: bool = False) -> bool | None:
    """Whether a person wants a deliverer paused; None when the registry does not know it.

    for_update: nobody pauses or resumes it before the transaction ends.
    """
    query = select(JobRow.wanted).where(JobRow.name == group)
    wanted = session.scalar(query.with_for_update() if for_update else query)
    return None if wanted is None else wanted == WantedState.PAUSED


def set_paused(session: Session, delivery: Delivery, paused: bool) -> bool:
    """Pause or resume on a person's word: its worker sees it within two seconds, or at its start.

    False when it is so already: nothing was changed then.
    """
    wanted = WantedState.PAUSED if paused else WantedState.RUNNING
    row = {
        "name": delivery.group, "group_name": delivery.group, "kind": JobKind.DELIVERER, "stream": delivery.stream,
        "version": delivery.version, "destination": delivery.destination, "wanted": wanted,
    }  # fmt: skip
    made = insert(JobRow).values(row).on_conflict_do_nothing().returning(JobRow.name)
    query = update(JobRow).where(JobRow.group == delivery.group, JobRow.wanted != wanted).values(wanted=wanted)
    changed = bool(session.scalars(made).all()) or bool(session.scalars(query.returning(JobRow.name)).all())
    if changed:
        audit.record(session, "pause" if paused else "resume", target(delivery))
    return changed


def target(delivery: Delivery) -> str:
    """What the audit calls a delivery."""
    return f"delivery/{delivery.stream}.v{delivery.version}.{delivery.destination}"


def find(session: Session, group: str) -> RegisteredDelivery | None:
    """What is known of one deliverer; None where its contract is not published, and it was never paused."""
    row = session.get(JobRow, group, populate_existing=True)
    return None if row is None else _registered(row)


def list_deliveries(session: Session) -> Sequence[RegisteredDelivery]:
    """All deliverers that there are or were, by group."""
    first_copies = (JobRow.kind == JobKind.DELIVERER, JobRow.name == JobRow.group)
    return [_registered(row) for row in session.scalars(select(JobRow).where(*first_copies).order_by(JobRow.name))]


def _registered(row: JobRow) -> RegisteredDelivery:
    health = JobHealth(JobState(row.state), row.last_error, row.last_error_at, row.next_try_at)
    delivery = Delivery(row.group, row.stream, row.version, row.destination)
    return RegisteredDelivery(delivery, row.wanted == WantedState.PAUSED, health, row.updated_at)

"""How each deliverer is doing, and which of them a person has paused. All work in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.contract.model import Contract
from clearwell.kafka.names import deliverer_group
from clearwell.registry import audit
from clearwell.registry.models import DeliveryRow


class DelivererState(StrEnum):
    """What a deliverer says of itself. retrying: the store is away or not well. failing: someone must mend it."""

    RUNNING = "running"
    PAUSED = "paused"
    RETRYING = "retrying"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is delivered where, and by which consumer group."""

    group: str
    stream: str
    version: int
    destination: str


@dataclass(frozen=True, slots=True)
class DelivererHealth:
    """How a deliverer is; `next_try_at` is set while it is retrying. Errors hold no data and no secrets."""

    state: DelivererState
    last_error: str | None = None
    last_error_at: datetime | None = None
    next_try_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RegisteredDelivery:
    """What the registry knows of a delivery; `paused` is what a person wants, the health what the deliverer said."""

    delivery: Delivery
    paused: bool
    health: DelivererHealth
    updated_at: datetime

    @property
    def state(self) -> DelivererState:
        """Paused as soon as a person wants it, else what the deliverer said."""
        return DelivererState.PAUSED if self.paused else self.health.state


def deliveries_of(contract: Contract) -> list[Delivery]:
    """One for each route of a contract."""
    stream, version = contract.stream, contract.version
    return [
        Delivery(deliverer_group(stream, version, route.to), stream, version, route.to) for route in contract.routes
    ]


def report(session: Session, delivery: Delivery, health: DelivererHealth) -> bool:
    """A deliverer says how it is; returns whether a person wants it paused."""
    values = {
        "state": health.state,
        "last_error": _printable(health.last_error),
        "last_error_at": health.last_error_at,
        "next_try_at": health.next_try_at,
        "updated_at": func.now(),
    }
    return bool(_put(session, delivery, values))


def is_paused(session: Session, group: str, *, for_update: bool = False) -> bool | None:
    """Whether a person wants a deliverer paused; None when the registry does not know it.

    for_update: nobody pauses or resumes it before the transaction ends.
    """
    query = select(DeliveryRow.paused).where(DeliveryRow.group == group)
    return session.scalar(query.with_for_update() if for_update else query)


def set_paused(session: Session, delivery: Delivery, paused: bool) -> bool:
    """Pause or resume on a person's word: the deliverer sees it within two seconds, or at its start.

    False when it is so already: nothing was changed then.
    """
    changed = _put(session, delivery, {"paused": paused}, DeliveryRow.paused.is_distinct_from(paused))
    if changed is not None:
        audit.record(session, "pause" if paused else "resume", target(delivery))
    return changed is not None


def target(delivery: Delivery) -> str:
    """What the audit calls a delivery."""
    return f"delivery/{delivery.stream}.v{delivery.version}.{delivery.destination}"


def find(session: Session, group: str) -> RegisteredDelivery | None:
    """What is known of one deliverer; None before its first start, and before it is first paused."""
    row = session.get(DeliveryRow, group)
    return None if row is None else _registered(row)


def list_deliveries(session: Session) -> Sequence[RegisteredDelivery]:
    """All deliverers that ever spoke or were paused, by group."""
    return [_registered(row) for row in session.scalars(select(DeliveryRow).order_by(DeliveryRow.group))]


def _put(
    session: Session, delivery: Delivery, values: Mapping[str, Any], only_if: ColumnElement[bool] | None = None
) -> bool | None:
    """Whether a person wants it paused, after `values`; None when the row that is there does not meet `only_if`."""
    new = {"stream": delivery.stream, "version": delivery.version, "destination": delivery.destination}
    query = insert(DeliveryRow).values({"group_name": delivery.group, **new, **values})
    query = query.on_conflict_do_update(index_elements=["group_name"], set_=dict(values), where=only_if)
    return session.scalar(query.returning(DeliveryRow.paused))


def _printable(text: str | None) -> str | None:
    """As Postgres takes it."""
    return None if text is None else text.replace("\0", "").encode(errors="backslashreplace").decode()


def _registered(row: DeliveryRow) -> RegisteredDelivery:
    health = DelivererHealth(DelivererState(row.state), row.last_error, row.last_error_at, row.next_try_at)
    delivery = Delivery(row.group, row.stream, row.version, row.destination)
    return RegisteredDelivery(delivery, row.paused, health, row.updated_at)

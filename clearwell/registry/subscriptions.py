"""Subscriptions in the registry: what a model reads, and for which purpose. All work in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, Hint, nearest
from clearwell.registry import audit
from clearwell.registry.models import SubscriptionPositionRow, SubscriptionRow


@dataclass(frozen=True, slots=True)
class RegisteredSubscription:
    """`fields` of the clean events of `stream`, contract `version`, in this order. `created_at` is set when saved."""

    name: str
    stream: str
    version: int
    fields: tuple[str, ...]
    purpose: str
    created_at: datetime | None = None


def add(session: Session, subscription: RegisteredSubscription) -> bool:
    """Store a new subscription; False when one has its name already: then nothing has changed."""
    query = insert(SubscriptionRow).values(name=subscription.name, **_columns(subscription)).on_conflict_do_nothing()
    if session.scalar(query.returning(SubscriptionRow.name)) is None:
        return False
    audit.record(session, "subscribe", target(subscription.name), _columns(subscription))
    return True


def change(session: Session, subscription: RegisteredSubscription) -> None:
    """Have the subscription of this name read something else; the model's position stays."""
    query = update(SubscriptionRow).where(SubscriptionRow.name == subscription.name)
    session.execute(query.values(created_at=func.now(), **_columns(subscription)))
    audit.record(session, "change", target(subscription.name), _columns(subscription))


def find(session: Session, name: str, *, for_update: bool = False) -> RegisteredSubscription | None:
    """The subscription `name`, or None; `for_update`: nobody else changes it before the transaction ends."""
    row = session.get(SubscriptionRow, name, with_for_update=for_update or None)
    return None if row is None else _subscription(row)


def get(session: Session, name: str, *, for_update: bool = False) -> RegisteredSubscription:
    """As `find`. Raises ConfigError with the nearest name when there is none."""
    subscription = find(session, name, for_update=for_update)
    if subscription is None:
        known = session.scalars(select(SubscriptionRow.name)).all()
        raise ConfigError(
            f'There is no subscription "{name}".{nearest(name, known)}',
            code="no_such_subscription",
            hint=Hint("subscriptions.list"),
        )
    return subscription


def list_subscriptions(session: Session) -> list[RegisteredSubscription]:
    """All subscriptions by name."""
    return [_subscription(row) for row in session.scalars(select(SubscriptionRow).order_by(SubscriptionRow.name))]


def remove(session: Session, name: str) -> None:
    """Forget a subscription, and where its model stood. Raises ConfigError when there is none."""
    get(session, name)
    session.execute(delete(SubscriptionRow).where(SubscriptionRow.name == name))
    session.execute(delete(SubscriptionPositionRow).where(SubscriptionPositionRow.name == name))
    audit.record(session, "unsubscribe", target(name))


def target(name: str) -> str:
    """What the audit calls a subscription."""
    return f"subscription/{name}"


def _columns(subscription: RegisteredSubscription) -> dict[str, object]:
    return {
        "stream": subscription.stream,
        "version": subscription.version,
        "fields": list(subscription.fields),
        "purpose": subscription.purpose,
    }


def _subscription(row: SubscriptionRow) -> RegisteredSubscription:
    return RegisteredSubscription(row.name, row.stream, row.version, tuple(row.fields), row.purpose, row.created_at)

"""Subscriptions in the registry: what a model reads, and for which purpose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from clearwell.errors import ConfigError, nearest
from clearwell.registry import audit
from clearwell.registry.models import SubscriptionRow


@dataclass(frozen=True, slots=True)
class Subscription:
    """`fields` of the clean events of `stream`, contract `version`, in this order. `created_at` is set when saved."""

    name: str
    stream: str
    version: int
    fields: tuple[str, ...]
    purpose: str
    created_at: datetime | None = None


def save_subscription(session: Session, subscription: Subscription) -> bool:
    """Store a subscription; False when the same one was there already.

    Raises ConfigError when another one has its name: what a model reads does not change under it.
    """
    row = session.get(SubscriptionRow, subscription.name)
    if row is not None:
        if _same(_subscription(row), subscription):
            return False
        raise ConfigError(
            f'There is another subscription "{row.name}" (stream {row.stream} v{row.version}, fields '
            f"{', '.join(row.fields)}): take another name, or remove it first."
        )
    session.add(
        SubscriptionRow(
            name=subscription.name,
            stream=subscription.stream,
            version=subscription.version,
            fields=list(subscription.fields),
            purpose=subscription.purpose,
        )
    )
    detail = {"stream": subscription.stream, "fields": list(subscription.fields), "purpose": subscription.purpose}
    audit.record(session, "subscribe", f"subscription/{subscription.name}", detail)
    return True


def get_subscription(session: Session, name: str) -> Subscription:
    """The subscription called `name`. Raises ConfigError with the nearest name when there is none."""
    row = session.get(SubscriptionRow, name)
    if row is None:
        known = session.scalars(select(SubscriptionRow.name)).all()
        raise ConfigError(f'There is no subscription "{name}".{nearest(name, known)} Make it by `clearwell subscribe`.')
    return _subscription(row)


def list_subscriptions(session: Session) -> list[Subscription]:
    """All subscriptions by name."""
    return [_subscription(row) for row in session.scalars(select(SubscriptionRow).order_by(SubscriptionRow.name))]


def remove_subscription(session: Session, name: str) -> None:
    """Forget a subscription. Raises ConfigError when there is none."""
    get_subscription(session, name)
    session.execute(delete(SubscriptionRow).where(SubscriptionRow.name == name))
    audit.record(session, "unsubscribe", f"subscription/{name}")


def _same(one: Subscription, other: Subscription) -> bool:
    return (one.stream, one.version, one.fields, one.purpose) == (
        other.stream,
        other.version,
        other.fields,
        other.purpose,
    )


def _subscription(row: SubscriptionRow) -> Subscription:
    return Subscription(row.name, row.stream, row.version, tuple(row.fields), row.purpose, row.created_at)

"""Subscriptions: what models read, and where they begin. A plan says what would follow, and is applied once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy.orm import Session

from clearwell.contract.load import find as find_contract
from clearwell.control.platform import Actor, Platform
from clearwell.errors import ConfigError, Hint
from clearwell.kafka import groups
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, model_group
from clearwell.registry import subscription_positions, subscriptions
from clearwell.registry.subscriptions import RegisteredSubscription
from clearwell.steps import bind
from clearwell.subscriptions.begin import Start, begin
from clearwell.subscriptions.position import Position
from clearwell.subscriptions.subscription import chosen_fields

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?\Z")

Outcome = Literal["made", "unchanged", "replaced"]


class ModelPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is in a clean partition, None where it never committed; `lag`: offsets still to be read."""

    partition: int
    next_offset: int | None
    lag: int


class SubscriptionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a subscription. `running`: a model follows it now."""

    name: str
    stream: str
    version: int
    topic: str
    fields: Sequence[str]
    purpose: str
    created_at: datetime | None
    running: bool
    positions: Sequence[ModelPosition]


@dataclass(frozen=True, slots=True)
class SubscriptionPlan:
    """A subscription to be stored. `before`: what has its name now; `start`: where its model is to begin.

    `protected` are the fields that arrive as protected values.
    """

    subscription: RegisteredSubscription
    before: RegisteredSubscription | None
    topic: str
    protected: Sequence[str]
    start: Start | None

    @property
    def outcome(self) -> Outcome:
        """What applying it would do."""
        if self.before is None:
            return "made"
        return "replaced" if differences(self.before, self.subscription) else "unchanged"


def list_subscriptions(platform: Platform) -> list[RegisteredSubscription]:
    """All subscriptions by name."""
    with platform.looking() as session:
        return subscriptions.list_subscriptions(session)


def show_subscription(platform: Platform, name: str) -> SubscriptionDetails:
    """One subscription, and how far its model is. Blocks.

    Raises ConfigError, with the nearest name, when there is none, Retryable when Kafka does not answer.
    """
    with platform.looking() as session:
        subscription = subscriptions.get(session, name)
    kafka, group = platform.settings.kafka, model_group(name)
    topic = clean_topic(subscription.stream, subscription.version)
    return SubscriptionDetails(
        name=name,
        stream=subscription.stream,
        version=subscription.version,
        topic=topic,
        fields=subscription.fields,
        purpose=subscription.purpose,
        created_at=subscription.created_at,
        running=groups.has_members(kafka, group),
        positions=[
            ModelPosition(partition=position.partition, next_offset=position.next_offset, lag=position.lag)
            for position in groups.positions(kafka, group, topic)
        ],
    )


def plan_subscription(
    platform: Platform,
    name: str,
    stream: str,
    version: int | None = None,
    fields: Sequence[str] = (),
    purpose: str = "",
    start: Start | None = None,
    *,
    replace: bool = False,
) -> SubscriptionPlan:
    """Give a model clean events of a stream: of `version`, None being the highest; no `fields` means all.

    `start`: None is the earliest event, and no change of a replaced one. The same again changes nothing. Raises
    ConfigError for an unknown stream or field, protected fields without a purpose, and a different subscription of
    that name without `replace`.
    """
    if not NAME.match(name):
        raise ConfigError(f'"{name}" is no name for a subscription: use lower-case letters, digits, "-", "_" and ".".')
    schema = bind(find_contract(platform.settings.schemas, stream, version)).schema
    selected = chosen_fields(schema, fields)
    protected = tuple(field.name for field in selected if field.is_protected_text)
    if protected and not purpose:
        raise ConfigError(
            f"{', '.join(protected)} is protected, and no purpose is given.",
            code="purpose_missing",
            hint=Hint("subscriptions.purpose", name),
        )
    names = tuple(field.name for field in selected)
    subscription = RegisteredSubscription(name, stream, schema.version, names, purpose)
    with platform.looking() as session:
        before = subscriptions.find(session, name)
    changes = [] if before is None else differences(before, subscription)
    if changes and not replace:
        raise ConfigError(
            f'There is another subscription "{name}": {"; ".join(changes)}.',
            code="subscription_is_another",
            hint=Hint("subscriptions.replace", name),
        )
    return SubscriptionPlan(subscription, before, clean_topic(stream, schema.version), protected, start)


def subscribe(platform: Platform, actor: Actor, plan: SubscriptionPlan) -> Mapping[int, int]:
    """Store the subscription; returns where its model begins, partition → clean offset, when the plan says where.

    Blocks. Raises ConfigError when another has changed it since it was planned, or a model follows while it would
    begin elsewhere, Retryable when Kafka does not answer; nothing has changed then.
    """
    subscription = plan.subscription
    with platform.changing(actor) as session:
        _require_unchanged(session, subscription.name, plan.before)
        if plan.outcome == "unchanged":
            return {}
        if plan.before is not None:
            subscriptions.change(session, subscription)
        elif not subscriptions.add(session, subscription):
            raise _old(subscription.name)
        if plan.start is None:
            return {}
        # last: when it fails, nothing is stored
        topic_id, offsets = begin(KafkaLog(platform.settings.kafka), subscription.name, plan.topic, plan.start)
        stored = {partition: Position(topic_id, offset).stored() for partition, offset in offsets.items()}
        subscription_positions.save(session, subscription.name, topic_id, stored)
        return offsets


def plan_removal(platform: Platform, name: str) -> RegisteredSubscription:
    """Forget a subscription and where its model is. Raises ConfigError when there is none, or a model follows it."""
    with platform.looking() as session:
        subscription = subscriptions.get(session, name)
    if groups.has_members(platform.settings.kafka, model_group(name)):
        raise _in_use(name)
    return subscription


def remove(platform: Platform, actor: Actor, subscription: RegisteredSubscription) -> None:
    """Carry a removal out, as `plan_removal` returned it; what the model committed in Kafka goes too. Blocks.

    Raises ConfigError when the subscription is not the same any more, or a model follows it: nothing has changed then.
    """
    with platform.changing(actor) as session:
        subscriptions.get(session, subscription.name, for_update=True)
        _require_unchanged(session, subscription.name, subscription)
        subscriptions.remove(session, subscription.name)
        if not groups.delete(platform.settings.kafka, model_group(subscription.name)):
            raise _in_use(subscription.name)


def differences(old: RegisteredSubscription, new: RegisteredSubscription) -> list[str]:
    """What would change, in words; empty when they are the same."""
    parts = (
        ("stream", f"{old.stream} v{old.version}", f"{new.stream} v{new.version}"),
        ("fields", ", ".join(old.fields), ", ".join(new.fields)),
        ("purpose", f'"{old.purpose}"', f'"{new.purpose}"'),
    )
    return [f"{what} {before} would become {after}" for what, before, after in parts if before != after]


def _require_unchanged(session: Session, name: str, before: RegisteredSubscription | None) -> None:
    now = subscriptions.find(session, name, for_update=True)
    if now != before:
        raise _old(name, differences(before, now) if before is not None and now is not None else ())


def _old(name: str, changes: Sequence[str] = ()) -> ConfigError:
    told = f": {'; '.join(changes).replace(' would become ', ' became ')}" if changes else ""
    return ConfigError(
        f'Subscription "{name}" has changed since this was planned{told}. Look at it, and plan again.',
        code="plan_is_old",
        hint=Hint("subscriptions.show", name),
    )


def _in_use(name: str) -> ConfigError:
    return ConfigError(f'A model is following "{name}" now: stop it first.', code="subscription_in_use")

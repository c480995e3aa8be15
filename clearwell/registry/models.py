"""The registry's tables, in a Postgres schema of their own; changes come as Alembic migrations in `migrations/`.

The schema is not called `clearwell`: a user of that name would find it before `public`, and a stream's table there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "clearwell_registry"


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        },
    )
    type_annotation_map = {dict[str, Any]: JSONB, list[str]: JSONB, datetime: DateTime(timezone=True)}


class ConnectorRow(Base):
    """A registered connector; `config` holds references, never secrets (invariant 10).

    `restarts` grows when a person asks for a new start: a collector that sees it grow ends the read it has.
    """

    __tablename__ = "connector"
    __table_args__ = (CheckConstraint("state in ('running', 'paused', 'finished', 'failing')", name="state"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]
    stream: Mapped[str]
    config: Mapped[dict[str, Any]]
    state: Mapped[str]
    last_error: Mapped[str | None]
    next_try_at: Mapped[datetime | None]
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    restarts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PositionRow(Base):
    """How far a connector's events are durable in Kafka (invariant 1). `version` grows with each save.

    `epoch` is that of the lease under which it may be saved: taking the lease raises it, which fences the one before.
    `events` were acknowledged, `refused` of them as dead letters; `read`, `held` and `passed_over` are what the source
    counted itself (`clearwell.source.Count`), `read` null where it does not count. The account begins
    anew when a person moves the position; it is `whole` when it began at the source's beginning.
    """

    __tablename__ = "position"

    connector: Mapped[str] = mapped_column(ForeignKey(ConnectorRow.name, ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    position: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    events: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    refused: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    read: Mapped[int | None] = mapped_column(BigInteger, server_default=text("0"))
    held: Mapped[int | None] = mapped_column(BigInteger)
    passed_over: Mapped[int | None] = mapped_column(BigInteger)
    whole: Mapped[bool] = mapped_column(server_default=text("true"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CollectorRow(Base):
    """A collector process; `seen_at` is its last sign of life. Those of one `scope` share out the same connectors."""

    __tablename__ = "collector"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    scope: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LeaseRow(Base):
    """The right to read a connector, `until` then, by Postgres' clock. `epoch` grows with each new holder."""

    __tablename__ = "lease"

    connector: Mapped[str] = mapped_column(ForeignKey(ConnectorRow.name, ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    holder: Mapped[str | None]
    until: Mapped[datetime]


class DestinationRow(Base):
    """A registered store; `config` holds references, never secrets (invariant 10)."""

    __tablename__ = "destination"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    config: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeliveryRow(Base):
    """How one deliverer is doing, by its consumer group, and what a person wants of it.

    `state` is what the deliverer says of itself; `paused` what a person asked for.
    """

    __tablename__ = "delivery"
    __table_args__ = (CheckConstraint("state in ('running', 'paused', 'retrying', 'failing')", name="state"),)

    group: Mapped[str] = mapped_column("group_name", primary_key=True)
    stream: Mapped[str]
    version: Mapped[int]
    destination: Mapped[str]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    state: Mapped[str] = mapped_column(server_default=text("'running'"))
    last_error: Mapped[str | None]
    last_error_at: Mapped[datetime | None]
    next_try_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SubscriptionRow(Base):
    """What a model reads, and for which purpose."""

    __tablename__ = "subscription"

    name: Mapped[str] = mapped_column(primary_key=True)
    stream: Mapped[str]
    version: Mapped[int]
    fields: Mapped[list[str]]
    purpose: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SubscriptionPositionRow(Base):
    """Where a model stood in a clean partition when it last committed; `note` is what is kept beside the offset."""

    __tablename__ = "subscription_position"

    name: Mapped[str] = mapped_column(primary_key=True)
    topic_id: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    next_offset: Mapped[int] = mapped_column(BigInteger)
    note: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LossRow(Base):
    """Offsets from `first` to before `next_offset` that retention removed before a consumer group had read them."""

    __tablename__ = "loss"

    group: Mapped[str] = mapped_column("group_name", primary_key=True)
    topic_id: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    next_offset: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeadLetterRow(Base):
    """One event that was rejected by the contract, or (with a `destination`) refused by a store.

    `origin_topic_id`, `raw_*` are the event's identity (invariant 3), `dead_*` where the dead letter is in its topic,
    `clean_*` where a refused event is in the clean topic: all in the same partition. `sealed` is the event as it came,
    `fixed` as a person changed it, both only as envelopes.

    `ours` is false for a record that is no dead letter of ours: then nothing of it is kept.
    """

    __tablename__ = "dead_letter"
    __table_args__ = (
        CheckConstraint("state in ('waiting', 'fixed', 'replayed', 'discarded', 'parked')", name="state"),
        UniqueConstraint(
            *("stream", "destination", "origin_topic_id", "raw_partition", "raw_offset"),
            name="dead_letter_identity_key",
        ),
        Index("dead_letter_state_idx", "stream", "state"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    stream: Mapped[str]
    destination: Mapped[str] = mapped_column(server_default=text("''"))
    origin_topic_id: Mapped[str]
    raw_partition: Mapped[int]
    raw_offset: Mapped[int] = mapped_column(BigInteger)
    ours: Mapped[bool] = mapped_column(server_default=text("true"))
    reason: Mapped[str]
    step: Mapped[str]
    field: Mapped[str]
    connector: Mapped[str] = mapped_column(server_default=text("''"))
    version: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)
    sealed: Mapped[str | None]
    fixed: Mapped[str | None]
    dead_topic_id: Mapped[str]
    dead_offset: Mapped[int] = mapped_column(BigInteger)
    clean_topic_id: Mapped[str | None]
    clean_offset: Mapped[int | None] = mapped_column(BigInteger)
    rejected_at: Mapped[datetime]
    first_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    state: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    most_attempts: Mapped[int] = mapped_column(server_default=text("3"))
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeadLetterReplayRow(Base):
    """One replay of a dead letter: written before the event is sent (the intent), completed after it is durable.

    `topic_id`, `partition`: where to (raw; the clean topic for a delivery). `after`: no later offset was there before,
    so that a replay that was broken off is found again behind it; for a delivery, the position that the store has after
    it. `sent_offset` is what it got. `refused_at` is set when it was rejected, or refused, again.
    """

    __tablename__ = "dead_letter_replay"
    __table_args__ = (
        Index("dead_letter_replay_dead_letter_idx", "dead_letter_id"),
        Index("dead_letter_replay_sent_idx", "topic_id", "partition", "sent_offset"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    dead_letter_id: Mapped[int] = mapped_column(BigInteger, ForeignKey(DeadLetterRow.id, ondelete="CASCADE"))
    token: Mapped[str]
    topic_id: Mapped[str]
    partition: Mapped[int]
    after: Mapped[int] = mapped_column(BigInteger)
    sent_offset: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    refused_at: Mapped[datetime | None]


class AuditRow(Base):
    """Who changed what, and when."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    who: Mapped[str]
    face: Mapped[str] = mapped_column(server_default="")
    reason: Mapped[str] = mapped_column(server_default="")
    action: Mapped[str]
    object: Mapped[str]
    detail: Mapped[dict[str, Any]]

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

    `restarts` grows when a person asks for a new start: a collector that sees it grow ends the read it has. `rate`:
    events a second over the last minute; the lag is what the source says that is still to be read, where it can tell.
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
    rate: Mapped[float] = mapped_column(server_default=text("0"))
    lag_events: Mapped[int | None] = mapped_column(BigInteger)
    lag_seconds: Mapped[float | None]
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


class ProcessRow(Base):
    """A collector or a worker (`kind`); `seen_at` is its last sign of life.

    Those of one kind and `scope` share out the same connectors or jobs. One that is `draining` gives away what it has
    and takes nothing more. `busy`: the part of one core that its work took in the last minute; `rss_mb`: its memory;
    `endpoint`: "http://host:port" of its `/metrics` and `/healthz`, where it serves them.
    """

    __tablename__ = "process"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    scope: Mapped[str]
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    busy: Mapped[float] = mapped_column(server_default=text("0"))
    rss_mb: Mapped[float] = mapped_column(server_default=text("0"))
    endpoint: Mapped[str] = mapped_column(server_default=text("''"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LeaseRow(Base):
    """The right to run a connector or a job (`kind`), `until` then, by Postgres' clock.

    `epoch` grows with each new holder.
    """

    __tablename__ = "lease"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    holder: Mapped[str | None]
    until: Mapped[datetime]


class ContractRow(Base):
    """A published contract, immutable: a change is a new `revision` that old readers can read, or a new version.

    `digest` is the SHA-256 of `text`. A version that is `retired_at` has no jobs any more.
    """

    __tablename__ = "contract"

    stream: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str]
    text: Mapped[str]
    published_at: Mapped[datetime] = mapped_column(server_default=func.now())
    retired_at: Mapped[datetime | None]


class DestinationRow(Base):
    """A registered store; `config` holds references, never secrets (invariant 10)."""

    __tablename__ = "destination"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    config: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobRow(Base):
    """What a worker runs: a cleaner, a copier of dead letters, a deliverer or an archiver (`kind`) of a stream.

    `name` is that of its consumer group, with "#2" and so on for further copies. Derived from the published contract
    (`version`, `revision`). `wanted` is what a person or a contract wants, `state` what the worker says. `alone`: it is
    to have a process of its own, for the reason `why_alone`. `restarts` grows when a person asks for a new start.
    `offered_to`: the id of the worker that is to take it next. `events`: handled since its last start; `rate`: events
    a second; `busy`: the part of one core that it took, both over the last minute.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint("kind in ('cleaner', 'dead_letters', 'deliverer', 'archiver')", name="kind"),
        CheckConstraint("wanted in ('running', 'paused', 'ended')", name="wanted"),
        CheckConstraint(
            "state in ('waiting', 'starting', 'running', 'idle', 'paused', 'retrying', 'failing', 'ended')",
            name="state",
        ),
        Index("job_stream_idx", "stream"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    group: Mapped[str] = mapped_column("group_name")
    kind: Mapped[str]
    stream: Mapped[str]
    version: Mapped[int]
    revision: Mapped[int] = mapped_column(server_default=text("0"))
    destination: Mapped[str] = mapped_column(server_default=text("''"))
    wanted: Mapped[str] = mapped_column(server_default=text("'running'"))
    alone: Mapped[bool] = mapped_column(server_default=text("false"))
    why_alone: Mapped[str] = mapped_column(server_default=text("''"))
    restarts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    offered_to: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default=text("'waiting'"))
    last_error: Mapped[str | None]
    last_error_at: Mapped[datetime | None]
    next_try_at: Mapped[datetime | None]
    events: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    rate: Mapped[float] = mapped_column(server_default=text("0"))
    lag_events: Mapped[int | None] = mapped_column(BigInteger)
    lag_seconds: Mapped[float | None]
    busy: Mapped[float] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
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

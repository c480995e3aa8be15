"""Dead letters, and the replays of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SCHEMA = "clearwell_registry"
_MOMENT = sa.DateTime(timezone=True)
_IDENTITY = ("stream", "destination", "raw_topic", "raw_partition", "raw_offset")


def upgrade() -> None:
    """Create the two tables."""
    _letters()
    _replays()


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, _MOMENT, server_default=sa.func.now(), nullable=False)


def _letters() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("raw_topic", sa.String(), nullable=False),
        sa.Column("raw_partition", sa.Integer(), nullable=False),
        sa.Column("raw_offset", sa.BigInteger(), nullable=False),
        sa.Column("ours", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.String()),
        sa.Column("fixed", sa.String()),
        sa.Column("dead_topic", sa.String(), nullable=False),
        sa.Column("dead_partition", sa.Integer(), nullable=False),
        sa.Column("dead_offset", sa.BigInteger(), nullable=False),
        sa.Column("clean_topic", sa.String()),
        sa.Column("clean_partition", sa.Integer()),
        sa.Column("clean_offset", sa.BigInteger()),
        sa.Column("rejected_at", _MOMENT, nullable=False),
        _now("first_seen"),
        _now("last_seen"),
        sa.Column("state", sa.String(), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("most_attempts", sa.Integer(), server_default=sa.text("3"), nullable=False),
        _now("changed_at"),
        sa.UniqueConstraint(*_IDENTITY, name=op.f("dead_letter_identity_key")),
        sa.CheckConstraint(
            "state in ('waiting', 'fixed', 'replayed', 'dropped', 'parked')", name=op.f("dead_letter_state_check")
        ),
        schema=_SCHEMA,
    )
    op.create_index("dead_letter_state_idx", "dead_letter", ["stream", "state"], schema=_SCHEMA)


def _replays() -> None:
    op.create_table(
        "dead_replay",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column(
            "letter",
            sa.BigInteger(),
            sa.ForeignKey(f"{_SCHEMA}.dead_letter.id", ondelete="CASCADE", name=op.f("dead_replay_letter_fkey")),
            nullable=False,
        ),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("topic_id", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger()),
        _now("started_at"),
        sa.Column("sent_at", _MOMENT),
        sa.Column("refused_at", _MOMENT),
        schema=_SCHEMA,
    )
    op.create_index("dead_replay_letter_idx", "dead_replay", ["letter"], schema=_SCHEMA)
    op.create_index("dead_replay_sent_idx", "dead_replay", ["topic_id", "partition", "sent"], schema=_SCHEMA)


def downgrade() -> None:
    """Drop the two tables."""
    op.drop_table("dead_replay", schema=_SCHEMA)
    op.drop_table("dead_letter", schema=_SCHEMA)

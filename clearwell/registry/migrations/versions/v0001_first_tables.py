"""Connectors, positions, subscriptions, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

_SCHEMA = "clearwell_registry"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the four tables."""
    op.create_table(
        "connector",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("last_error", sa.String()),
        sa.Column("next_try_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("state in ('running', 'paused', 'finished', 'failing')", name="connector_state_check"),
        schema=_SCHEMA,
    )
    op.create_table(
        "position",
        sa.Column("connector", sa.String(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("position", JSONB()),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(
            ["connector"], [f"{_SCHEMA}.connector.name"], name="position_connector_fkey", ondelete="CASCADE"
        ),
        schema=_SCHEMA,
    )
    op.create_table(
        "subscription",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fields", JSONB(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        schema=_SCHEMA,
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("detail", JSONB(), nullable=False),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Drop the four tables."""
    for table in ("audit", "subscription", "position", "connector"):
        op.drop_table(table, schema=_SCHEMA)

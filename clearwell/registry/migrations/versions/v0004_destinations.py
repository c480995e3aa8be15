"""Registered destinations, and how each deliverer fares."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

_SCHEMA = "clearwell_registry"
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "destination",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("config", JSONB(), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=sa.func.now(), nullable=False),
        schema=_SCHEMA,
    )
    op.create_table(
        "delivery",
        sa.Column("group_name", sa.String(), primary_key=True),
        sa.Column("stream", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'running'"), nullable=False),
        sa.Column("last_error", sa.String()),
        sa.Column("last_error_at", _MOMENT),
        sa.Column("next_try_at", _MOMENT),
        sa.Column("updated_at", _MOMENT, server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("state in ('running', 'paused', 'retrying', 'failing')", name=op.f("delivery_state_check")),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Drop the two tables."""
    op.drop_table("delivery", schema=_SCHEMA)
    op.drop_table("destination", schema=_SCHEMA)

"""Where models stand, for the time after which Kafka forgets a group that nobody is in (seven days)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SCHEMA = "clearwell_registry"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "subscription_position",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("topic_id", sa.String(), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("subscription_position", schema=_SCHEMA)

"""What retention removed before a reader came to it, for the status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SCHEMA = "clearwell_registry"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "loss",
        sa.Column("group_name", sa.String(), primary_key=True),
        sa.Column("topic_id", sa.String(), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("first", sa.BigInteger(), primary_key=True),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema=_SCHEMA,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("loss", schema=_SCHEMA)

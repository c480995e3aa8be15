"""Connectors: limits, and a count of restarts that a person asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

_SCHEMA = "clearwell_registry"


def upgrade() -> None:
    """Add the two columns; connectors that are there have no limits."""
    op.add_column(
        "connector", sa.Column("limits", JSONB(), nullable=False, server_default=sa.text("'{}'")), schema=_SCHEMA
    )
    op.add_column(
        "connector", sa.Column("restarts", sa.BigInteger(), nullable=False, server_default=sa.text("0")), schema=_SCHEMA
    )


def downgrade() -> None:
    """Drop the two columns."""
    op.drop_column("connector", "restarts", schema=_SCHEMA)
    op.drop_column("connector", "limits", schema=_SCHEMA)

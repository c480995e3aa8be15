"""Collectors, and their leases on connectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SCHEMA = "clearwell_registry"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the two tables; positions learn the epoch of the lease that may move them."""
    op.create_table(
        "collector",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("started_at", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("seen_at", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
        schema=_SCHEMA,
    )
    op.create_table(
        "lease",
        sa.Column(
            "connector",
            sa.String(),
            sa.ForeignKey(f"{_SCHEMA}.connector.name", ondelete="CASCADE", name="lease_connector_fkey"),
            primary_key=True,
        ),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String()),
        sa.Column("until", _TIME, nullable=False),
        schema=_SCHEMA,
    )
    op.add_column(
        "position", sa.Column("epoch", sa.BigInteger(), nullable=False, server_default=sa.text("0")), schema=_SCHEMA
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("position", "epoch", schema=_SCHEMA)
    op.drop_table("lease", schema=_SCHEMA)
    op.drop_table("collector", schema=_SCHEMA)

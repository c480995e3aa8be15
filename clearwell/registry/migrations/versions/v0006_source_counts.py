"""What a source counted itself, beside what Kafka has acknowledged of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SCHEMA = "clearwell_registry"
_ZERO = sa.text("0")


def upgrade() -> None:
    """Add the columns; of what was read before nobody has counted the items."""
    for column in (
        sa.Column("refused", sa.BigInteger(), nullable=False, server_default=_ZERO),
        sa.Column("read", sa.BigInteger(), server_default=_ZERO),
        sa.Column("held", sa.BigInteger()),
        sa.Column("whole", sa.Boolean(), nullable=False, server_default=sa.text("true")),
    ):
        op.add_column("position", column, schema=_SCHEMA)
    position = sa.table("position", *map(sa.column, ("version", "events", "read", "whole")), schema=_SCHEMA)
    begun = sa.or_(position.c.version > 0, position.c.events > 0)
    op.execute(sa.update(position).where(begun).values(read=None, whole=False))


def downgrade() -> None:
    """Drop the columns."""
    for name in ("refused", "read", "held", "whole"):
        op.drop_column("position", name, schema=_SCHEMA)

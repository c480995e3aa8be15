"""How many files a source passes over, beside what it counted of those that it reads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_SCHEMA = "clearwell_registry"


def upgrade() -> None:
    """Add the column."""
    op.add_column("position", sa.Column("passed_over", sa.BigInteger()), schema=_SCHEMA)


def downgrade() -> None:
    """Drop it."""
    op.drop_column("position", "passed_over", schema=_SCHEMA)

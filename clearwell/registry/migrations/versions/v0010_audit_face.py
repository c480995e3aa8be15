"""How somebody who changed something came in, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_SCHEMA = "clearwell_registry"
_COLUMNS = ("face", "reason")


def upgrade() -> None:
    """Add two columns, empty for what was done before."""
    for name in _COLUMNS:
        op.add_column("audit", sa.Column(name, sa.String(), nullable=False, server_default=""), schema=_SCHEMA)


def downgrade() -> None:
    """Drop them."""
    for name in reversed(_COLUMNS):
        op.drop_column("audit", name, schema=_SCHEMA)

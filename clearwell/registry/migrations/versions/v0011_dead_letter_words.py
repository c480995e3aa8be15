"""Columns of dead letters say what they hold, once: the id of a topic, one partition, who sent the event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_SCHEMA = "clearwell_registry"
_LETTERS = {"raw_topic": "origin_topic_id", "dead_topic": "dead_topic_id", "clean_topic": "clean_topic_id"}
_REPLAYS = {"letter": "dead_letter_id", "sent": "sent_offset"}
_INDEXES = {
    "dead_replay_letter_idx": "dead_letter_replay_dead_letter_idx",
    "dead_replay_sent_idx": "dead_letter_replay_sent_idx",
    "dead_replay_pkey": "dead_letter_replay_pkey",
}
_FOREIGN_KEY = "dead_replay_letter_fkey", "dead_letter_replay_dead_letter_id_fkey"
_TABLE = sa.table(
    "dead_letter",
    *map(sa.column, ("raw_partition", "dead_partition", "clean_partition", "clean_topic_id", "state")),
    schema=_SCHEMA,
)
_STATES = "state in ('waiting', 'fixed', 'replayed', '{}', 'parked')"


def upgrade() -> None:
    """Rename; drop the two partitions that are always the raw one."""
    for old, new in _LETTERS.items():
        op.alter_column("dead_letter", old, new_column_name=new, schema=_SCHEMA)
    op.drop_column("dead_letter", "dead_partition", schema=_SCHEMA)
    op.drop_column("dead_letter", "clean_partition", schema=_SCHEMA)
    op.add_column("dead_letter", sa.Column("connector", sa.String(), nullable=False, server_default=""), schema=_SCHEMA)
    _rename_state("dropped", "discarded")
    for old, new in _REPLAYS.items():
        op.alter_column("dead_replay", old, new_column_name=new, schema=_SCHEMA)
    op.rename_table("dead_replay", "dead_letter_replay", schema=_SCHEMA)
    for old, new in _INDEXES.items():
        op.execute(f"ALTER INDEX {_SCHEMA}.{old} RENAME TO {new}")
    _rename_foreign_key(*_FOREIGN_KEY)


def downgrade() -> None:
    """Take the former names, and the partitions back."""
    _rename_foreign_key(*reversed(_FOREIGN_KEY))
    for old, new in _INDEXES.items():
        op.execute(f"ALTER INDEX {_SCHEMA}.{new} RENAME TO {old}")
    op.rename_table("dead_letter_replay", "dead_replay", schema=_SCHEMA)
    for old, new in _REPLAYS.items():
        op.alter_column("dead_replay", new, new_column_name=old, schema=_SCHEMA)
    _rename_state("discarded", "dropped")
    op.drop_column("dead_letter", "connector", schema=_SCHEMA)
    for name in ("dead_partition", "clean_partition"):
        op.add_column("dead_letter", sa.Column(name, sa.Integer()), schema=_SCHEMA)
    partition = _TABLE.c.raw_partition
    clean = sa.case((_TABLE.c.clean_topic_id.is_not(None), partition))
    op.execute(_TABLE.update().values(dead_partition=partition, clean_partition=clean))
    op.alter_column("dead_letter", "dead_partition", nullable=False, schema=_SCHEMA)
    for old, new in _LETTERS.items():
        op.alter_column("dead_letter", new, new_column_name=old, schema=_SCHEMA)


def _rename_state(old: str, new: str) -> None:
    op.drop_constraint(op.f("dead_letter_state_check"), "dead_letter", schema=_SCHEMA)
    op.execute(_TABLE.update().where(_TABLE.c.state == old).values(state=new))
    op.create_check_constraint(op.f("dead_letter_state_check"), "dead_letter", _STATES.format(new), schema=_SCHEMA)


def _rename_foreign_key(old: str, new: str) -> None:
    op.execute(f"ALTER TABLE {_SCHEMA}.dead_letter_replay RENAME CONSTRAINT {old} TO {new}")

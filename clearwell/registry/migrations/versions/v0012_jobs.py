"""Published contracts, the jobs that they make, and one table of leases and processes for workers and collectors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_SCHEMA = "clearwell_registry"
_TIME = sa.DateTime(timezone=True)
_STATES = "state in ('waiting', 'starting', 'running', 'idle', 'paused', 'retrying', 'failing', 'ended')"
_OLD_STATES = "state in ('running', 'paused', 'retrying', 'failing')"


def upgrade() -> None:
    """A deliverer becomes one kind of job; a collector one kind of process; a connector one kind of what is leased."""
    op.create_table(
        "contract",
        sa.Column("stream", sa.String(), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("published_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("retired_at", _TIME),
        schema=_SCHEMA,
    )
    for column in (
        sa.Column("rate", sa.Double(), nullable=False, server_default="0"),
        sa.Column("lag_events", sa.BigInteger()),
        sa.Column("lag_seconds", sa.Double()),
    ):
        op.add_column("connector", column, schema=_SCHEMA)
    _widen_processes()
    _widen_leases()
    _make_jobs()


def _widen_processes() -> None:
    op.rename_table("collector", "process", schema=_SCHEMA)
    op.execute(f"ALTER INDEX {_SCHEMA}.collector_pkey RENAME TO process_pkey")
    for column in (
        sa.Column("kind", sa.String(), nullable=False, server_default="collector"),
        sa.Column("draining", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("busy", sa.Double(), nullable=False, server_default="0"),
        sa.Column("rss_mb", sa.Double(), nullable=False, server_default="0"),
        sa.Column("endpoint", sa.String(), nullable=False, server_default=""),
    ):
        op.add_column("process", column, schema=_SCHEMA)
    op.alter_column("process", "kind", server_default=None, schema=_SCHEMA)


def _widen_leases() -> None:
    op.drop_constraint("lease_connector_fkey", "lease", schema=_SCHEMA)
    op.alter_column("lease", "connector", new_column_name="name", schema=_SCHEMA)
    op.add_column("lease", sa.Column("kind", sa.String(), nullable=False, server_default="connector"), schema=_SCHEMA)
    op.alter_column("lease", "kind", server_default=None, schema=_SCHEMA)
    op.drop_constraint("lease_pkey", "lease", schema=_SCHEMA)
    op.create_primary_key("lease_pkey", "lease", ["kind", "name"], schema=_SCHEMA)


def _make_jobs() -> None:
    op.rename_table("delivery", "job", schema=_SCHEMA)
    op.drop_constraint(op.f("delivery_state_check"), "job", schema=_SCHEMA)
    op.drop_constraint("delivery_pkey", "job", schema=_SCHEMA)
    for column in (
        sa.Column("name", sa.String()),
        sa.Column("kind", sa.String(), nullable=False, server_default="deliverer"),
        sa.Column("revision", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("wanted", sa.String(), nullable=False, server_default="running"),
        sa.Column("alone", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("why_alone", sa.String(), nullable=False, server_default=""),
        sa.Column("restarts", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("offered_to", sa.String()),
        sa.Column("events", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("rate", sa.Double(), nullable=False, server_default="0"),
        sa.Column("lag_events", sa.BigInteger()),
        sa.Column("lag_seconds", sa.Double()),
        sa.Column("busy", sa.Double(), nullable=False, server_default="0"),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
    ):
        op.add_column("job", column, schema=_SCHEMA)
    job = sa.table("job", *map(sa.column, ("name", "group_name", "paused", "wanted")), schema=_SCHEMA)
    op.execute(job.update().values(name=job.c.group_name))
    op.execute(job.update().where(job.c.paused).values(wanted="paused"))
    op.drop_column("job", "paused", schema=_SCHEMA)
    op.alter_column("job", "name", nullable=False, schema=_SCHEMA)
    op.alter_column("job", "kind", server_default=None, schema=_SCHEMA)
    op.alter_column("job", "destination", server_default="", schema=_SCHEMA)
    op.alter_column("job", "state", server_default="waiting", schema=_SCHEMA)
    op.create_primary_key("job_pkey", "job", ["name"], schema=_SCHEMA)
    kinds = "kind in ('cleaner', 'dead_letters', 'deliverer', 'archiver')"
    op.create_check_constraint(op.f("job_kind_check"), "job", kinds, schema=_SCHEMA)
    op.create_check_constraint(
        op.f("job_wanted_check"), "job", "wanted in ('running', 'paused', 'ended')", schema=_SCHEMA
    )
    op.create_check_constraint(op.f("job_state_check"), "job", _STATES, schema=_SCHEMA)
    op.create_index("job_stream_idx", "job", ["stream"], schema=_SCHEMA)


def downgrade() -> None:
    """Take back; jobs that are no deliverers, and what is published, go."""
    job = sa.table("job", *map(sa.column, ("kind", "wanted", "paused", "state", "name", "group_name")), schema=_SCHEMA)
    op.execute(job.delete().where(sa.or_(job.c.kind != "deliverer", job.c.name != job.c.group_name)))
    op.drop_index("job_stream_idx", "job", schema=_SCHEMA)
    for constraint in ("job_kind_check", "job_wanted_check", "job_state_check"):
        op.drop_constraint(op.f(constraint), "job", schema=_SCHEMA)
    op.drop_constraint("job_pkey", "job", schema=_SCHEMA)
    op.add_column("job", sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()), schema=_SCHEMA)
    op.execute(job.update().where(job.c.wanted == "paused").values(paused=True))
    op.execute(job.update().where(job.c.state.in_(["waiting", "starting", "idle", "ended"])).values(state="running"))
    for name in (
        *("name", "kind", "revision", "wanted", "alone", "why_alone", "restarts", "offered_to"),
        *("events", "rate", "lag_events", "lag_seconds", "busy", "created_at"),
    ):
        op.drop_column("job", name, schema=_SCHEMA)
    op.alter_column("job", "destination", server_default=None, schema=_SCHEMA)
    op.alter_column("job", "state", server_default="running", schema=_SCHEMA)
    op.rename_table("job", "delivery", schema=_SCHEMA)
    op.create_primary_key("delivery_pkey", "delivery", ["group_name"], schema=_SCHEMA)
    op.create_check_constraint(op.f("delivery_state_check"), "delivery", _OLD_STATES, schema=_SCHEMA)

    lease = sa.table("lease", sa.column("kind"), schema=_SCHEMA)
    op.execute(lease.delete().where(lease.c.kind != "connector"))
    op.drop_constraint("lease_pkey", "lease", schema=_SCHEMA)
    op.drop_column("lease", "kind", schema=_SCHEMA)
    op.alter_column("lease", "name", new_column_name="connector", schema=_SCHEMA)
    op.create_primary_key("lease_pkey", "lease", ["connector"], schema=_SCHEMA)
    op.create_foreign_key(
        "lease_connector_fkey", "lease", "connector", ["connector"], ["name"],
        source_schema=_SCHEMA, referent_schema=_SCHEMA, ondelete="CASCADE",
    )  # fmt: skip

    process = sa.table("process", sa.column("kind"), schema=_SCHEMA)
    op.execute(process.delete().where(process.c.kind != "collector"))
    for name in ("kind", "draining", "busy", "rss_mb", "endpoint"):
        op.drop_column("process", name, schema=_SCHEMA)
    op.rename_table("process", "collector", schema=_SCHEMA)
    op.execute(f"ALTER INDEX {_SCHEMA}.process_pkey RENAME TO collector_pkey")
    for name in ("rate", "lag_events", "lag_seconds"):
        op.drop_column("connector", name, schema=_SCHEMA)
    op.drop_table("contract", schema=_SCHEMA)

"""Brings the registry's tables up to date with Alembic; the migrations are part of the package."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from clearwell.registry.database import Registry
from clearwell.registry.models import SCHEMA

_LOCK = 0x636C6561  # "clea": one migration at a time, however many processes start at once


def migrate(postgres: str) -> None:
    """Create or widen the registry's tables; doing it again, or from many processes at once, is harmless.

    Raises Retryable when Postgres is not there, ConfigError when the rights are missing.
    """
    from alembic import command  # late: the services that import this package never migrate
    from alembic.config import Config

    registry = Registry(postgres)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    try:
        with registry.connection() as connection:
            connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            connection.execute(text(f"create schema if not exists {SCHEMA}"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        registry.close()

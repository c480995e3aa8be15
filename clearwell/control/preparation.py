"""What must exist before services start: the key file, the registry's tables, the topics of every contract."""

from __future__ import annotations

from pathlib import Path

import msgspec
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from clearwell.contract.load import newest_contracts
from clearwell.control.platform import Actor, Platform
from clearwell.kafka import admin
from clearwell.local.prepare import lacks_keys, prepare
from clearwell.registry import Registry, audit, models


class Preparation(msgspec.Struct, frozen=True):
    """What is missing and would be made: the key file, migrations of the registry's tables, topics."""

    keys: list[str]
    migrations: list[str]
    topics: list[str]

    @property
    def is_needed(self) -> bool:
        """Whether anything is missing."""
        return bool(self.keys or self.migrations or self.topics)


def plan_preparation(platform: Platform) -> Preparation:
    """Ask Kafka and Postgres. Raises ConfigError where a person must act, Retryable where a server is not well."""
    settings = platform.settings
    keys = [str(settings.keys)] if lacks_keys(settings.home, settings.keys) else []
    try:
        topics = [
            topic
            for contract in newest_contracts(settings.schemas)
            for topic in admin.missing_topics(settings.kafka, contract.stream, contract.version)
        ]
    finally:
        admin.close()
    return Preparation(keys, _missing_migrations(platform.registry), topics)


def apply(platform: Platform, actor: Actor, plan: Preparation) -> list[str]:
    """Make what is missing now; returns the streams that are ready. What the plan names is audited. Raises as it does.

    Doing it again is harmless, so that a plan that is old is carried out all the same.
    """
    settings = platform.settings
    settings.home.mkdir(parents=True, exist_ok=True)
    prepare(settings)
    if plan.is_needed:
        with platform.changing(actor) as session:
            audit.record(session, "prepare", "platform", msgspec.to_builtins(plan))
    return [f"{contract.stream} v{contract.version}" for contract in newest_contracts(settings.schemas)]


def _missing_migrations(registry: Registry) -> list[str]:
    """Alembic's revisions that the registry has not had, oldest first."""
    script = ScriptDirectory(str(Path(models.__file__).with_name("migrations")))
    with registry.connection() as connection:
        options = {"version_table_schema": models.SCHEMA}
        now = MigrationContext.configure(connection, opts=options).get_current_revision()
    return [revision.revision for revision in script.iterate_revisions("head", now or "base")][::-1]

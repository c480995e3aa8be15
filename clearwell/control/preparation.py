"""What must exist before services start: the key file, the registry's tables, contracts, and the topics of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from clearwell.control.contract_publication import Publication
from clearwell.control.platform import Actor, Platform
from clearwell.control.schemas_publication import apply_schemas, plan_first_schemas, plan_schemas
from clearwell.kafka import admin
from clearwell.local.prepare import lacks_keys, prepare
from clearwell.registry import Registry, audit, models


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is missing and would be made: the key file, migrations of the registry's tables, contracts, topics.

    `publication`: of all files, also of those that would not be published.
    """

    keys: list[str]
    migrations: list[str]
    topics: list[str]
    publication: Publication

    @property
    def contracts(self) -> list[str]:
        """What would be published, as "flights v1"."""
        return [f"{planned.stream} v{planned.version}" for planned in self.publication.contracts if planned.changes]

    @property
    def is_needed(self) -> bool:
        """Whether anything is missing."""
        return bool(self.keys or self.migrations or self.topics or self.contracts)


def plan_preparation(platform: Platform) -> Preparation:
    """Ask Kafka and Postgres. Raises ConfigError where a person must act, Retryable where a server is not well.

    A file of the schemas folder that is wrong is not published, and in nobody's way.
    """
    settings = platform.settings
    keys = [str(settings.keys)] if lacks_keys(settings.home, settings.keys) else []
    migrations = _missing_migrations(platform.registry)
    publication = plan_first_schemas(settings.schemas) if migrations else plan_schemas(platform)
    accepted = [planned for planned in publication.contracts if planned.refusal is None]
    try:
        topics = [
            topic
            for planned in accepted
            for topic in admin.missing_topics(settings.kafka, planned.stream, planned.version)
        ]
    finally:
        admin.close()
    return Preparation(keys, migrations, list(dict.fromkeys(topics)), publication)


def apply(platform: Platform, actor: Actor, plan: Preparation) -> Publication:
    """Make what is missing now; returns what became of each contract. What is planned is audited. Raises as `plan`.

    Doing it again is harmless, so that a plan that is old is carried out all the same.
    """
    settings = platform.settings
    settings.home.mkdir(parents=True, exist_ok=True)
    prepare(settings)
    try:
        publication = apply_schemas(platform, actor, plan_schemas(platform))
    finally:
        admin.close()  # a kept client would look for a stopped Kafka for as long as this process lives
    if plan.is_needed:
        detail = {"keys": plan.keys, "migrations": plan.migrations, "topics": plan.topics, "contracts": plan.contracts}
        with platform.changing(actor) as session:
            audit.record(session, "prepare", "platform", detail)
    return publication


def _missing_migrations(registry: Registry) -> list[str]:
    """Alembic's revisions that the registry has not had, oldest first."""
    script = ScriptDirectory(str(Path(models.__file__).with_name("migrations")))
    with registry.connection() as connection:
        options = {"version_table_schema": models.SCHEMA}
        now = MigrationContext.configure(connection, opts=options).get_current_revision()
    return [revision.revision for revision in script.iterate_revisions("head", now or "base")][::-1]

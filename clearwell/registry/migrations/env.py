"""Run by Alembic, inside the connection and transaction that `clearwell.registry.migrate` gives."""

from alembic import context

from clearwell.registry.models import SCHEMA, Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
context.run_migrations()

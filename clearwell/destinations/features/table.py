"""Makes the tables of a feature view, or widens them; anything else is a sentence for a person."""

from __future__ import annotations

from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier, Literal

from clearwell.contract.features import MICROSECOND, FeatureView
from clearwell.destinations.features import ddl as features_ddl
from clearwell.destinations.features import history_files, retention_floor, seen_events
from clearwell.destinations.features import incarnations as features_incarnations
from clearwell.destinations.features import lateness as features_lateness
from clearwell.destinations.features.ddl import ROWS, TILES
from clearwell.destinations.postgres import positions as postgres_positions
from clearwell.destinations.postgres import table as postgres_table
from clearwell.errors import ConfigError

_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)"

_TILES = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident(%s) || '.' || quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
"""

_COMMENT = "SELECT obj_description(to_regclass(quote_ident(%s) || '.' || quote_ident(%s)), 'pg_class')"


def make_tables(connection: Connection[Any], view: FeatureView) -> None:
    """`prepare` in a transaction of its own, before anything is delivered or pushed. Raises what psycopg raises too."""
    with connection.transaction():
        connection.execute(SQL("SET LOCAL search_path TO {}").format(Identifier(ROWS)))
        prepare(connection, view)


def prepare(connection: Connection[Any], view: FeatureView) -> None:
    """Create or widen what holds the view; call it inside a transaction, with ROWS first in the search path.

    Raises ConfigError when a type or the entity changed, or tiles were made for other windows or fields.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (postgres_table.LOCK,))
    schemas = {name for (name,) in connection.execute(_SCHEMAS, ([ROWS, TILES],)).fetchall()}
    for name in sorted({ROWS, TILES} - schemas):
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(name)))
    postgres_positions.create_positions(connection)
    postgres_table.prepare(connection, features_ddl.rows_schema(view), view.name)
    history_files.create_list(connection)
    tables = {
        "counted": seen_events.CREATE,
        "floors": retention_floor.CREATE,
        "views": features_lateness.CREATE,
        "incarnations": features_incarnations.CREATE,
    }
    for table, create in tables.items():
        there = connection.execute("SELECT to_regclass(%s)", (f"{postgres_positions.SCHEMA}.{table}",)).fetchone()
        if there == (None,):
            connection.execute(create)
    connection.execute(seen_events.MEND)
    if view.tile is not None:
        _prepare_tiles(connection, view)


def _prepare_tiles(connection: Connection[Any], view: FeatureView) -> None:
    declared = {column.name: column.final for column in features_ddl.tile_columns(view)}
    existing = dict(connection.execute(_TILES, (TILES, view.name)).fetchall())
    said = said_of(view)
    if not existing and not seen_events.any_of(connection, view.name):
        connection.execute(features_ddl.create_tiles(view))
        retention_floor.forget(connection, view.name)
        table, text = Identifier(TILES, view.name), Literal(said)
        connection.execute(SQL("COMMENT ON TABLE {} IS {}").format(table, text))
    elif existing != declared or connection.execute(_COMMENT, (TILES, view.name)).fetchone() != (said,):
        made = "were made for other windows or fields" if existing else "were never made"
        raise ConfigError(
            f'The tiles of the view "{view.name}" {made}, and its past events can\'t be put into these: call the '
            f"view {view.name[:60]}_2 in the route, say, and it is filled from the start of the topic."
        )


def said_of(view: FeatureView) -> str:
    """The comment on a table of tiles: what its rows depend on beside its columns."""
    assert view.tile is not None
    return f"Clearwell: tiles of {view.tile // MICROSECOND} µs by {view.event_time} of {view.stream}"

"""The tables of a view, made before anything is delivered or pushed to it."""

from __future__ import annotations

from psycopg.sql import SQL, Identifier

from clearwell.contract.features import FeatureView
from clearwell.destinations.features import table as features_table
from clearwell.destinations.features.ddl import ROWS
from clearwell.destinations.features.read import Session


def make_tables(session: Session, view: FeatureView) -> None:
    """Make or widen them in one transaction. Raises as `features_table.prepare`, and what psycopg raises."""
    with session.transaction():
        session.execute(SQL("SET LOCAL search_path TO {}").format(Identifier(ROWS)))
        features_table.prepare(session, view)

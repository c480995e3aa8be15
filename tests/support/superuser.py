"""Who may do everything in the embedded PostgreSQL, for what only a superuser may: tablespaces, roles' rights."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg

from clearwell.local import postgres
from clearwell.settings import Settings


def superuser(settings: Settings) -> str:
    """The superuser's address of the test stack."""
    return postgres.superuser_url(settings.home, urlsplit(settings.postgres).port or 0)


def let_tests_make_roles(settings: Settings) -> None:
    """Tests make databases and roles beside the stack's own; the platform itself may not and need not."""
    with psycopg.connect(superuser(settings), autocommit=True) as session:
        session.execute("ALTER ROLE clearwell CREATEDB CREATEROLE")
        session.execute("ALTER ROLE clearwell SET createrole_self_grant TO 'set, inherit'")  # and drop them again
        session.execute("GRANT CONNECT, TEMPORARY ON DATABASE clearwell TO PUBLIC")  # for the roles that they make

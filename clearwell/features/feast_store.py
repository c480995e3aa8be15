"""Opens Feast on this platform: its registry in our PostgreSQL, our online store, Parquet files as history."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import psycopg
from feast import FeatureStore, RepoConfig
from feast.infra.registry.sql import FeastRegistrySchemaError, SqlRegistry
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from clearwell.destinations.postgres import errors as postgres_errors
from clearwell.errors import ConfigError, Hint, Retryable
from clearwell.features.feast_config import PROJECT, SCHEMA, in_postgres, registry_url, repository
from clearwell.features.online_store import ClearwellOnlineStore
from clearwell.postgres_connection import BoundedConnection
from clearwell.settings import Settings

_MAKE = "make or read the registry of Feast"
_LOCK = 0x636C77_66656173  # "clwfeas": two that apply at once wait for each other
_WAIT = timedelta(seconds=60)


def open_store(settings: Settings, project: str = PROJECT) -> FeatureStore:
    """Feast, to read features, definitions and histories with.

    Raises ConfigError when nothing was ever applied to the registry, Retryable when its server is not there.
    """
    return _open(settings, project, make=False)


@contextlib.contextmanager
def closing_store(settings: Settings, project: str = PROJECT) -> Iterator[FeatureStore]:
    """`open_store` for the context, after which its connections are closed."""
    with _closing(_open(settings, project, make=False)) as store:
        yield store


@contextlib.contextmanager
def changing_store(settings: Settings, project: str = PROJECT) -> Iterator[FeatureStore]:
    """Feast, to change definitions in; makes the registry where it is missing, and keeps others from changing it.

    The lock is of a PostgreSQL registry only. Raises ConfigError or Retryable as `open_store`.
    """
    url = registry_url(settings)
    if not in_postgres(url):
        with _closing(_open(settings, project, make=True)) as store:
            yield store
        return
    dsn = url.replace("+psycopg", "", 1)
    with _connect(dsn) as session:
        if session.pooled:
            raise ConfigError("Feast's registry can't be changed through pgbouncer: name the server itself.")
        session.execute("SELECT set_config('lock_timeout', %s, false)", (f"{_WAIT.total_seconds():.0f}s",))
        session.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        if session.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,):
            session.execute(SQL("CREATE SCHEMA {}").format(Identifier(SCHEMA)))
        with _closing(_open(settings, project, make=True)) as store:
            yield store


def registry_exists(settings: Settings) -> bool:
    """Whether anything was ever applied; True where the registry is not in PostgreSQL. Raises as `open_store`."""
    url = registry_url(settings)
    if not in_postgres(url):
        return True
    with _connect(url.replace("+psycopg", "", 1)) as session:
        return session.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.feature_views",)).fetchone() != (None,)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """What SQLAlchemy raises in the context becomes a sentence without data or secrets (invariants 9 and 10)."""
    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise postgres_errors.on_statement(error.orig, "The server of Feast's registry", _MAKE) from None
        raise Retryable(f"The server of Feast's registry failed ({type(error.orig).__name__}).") from None
    except SQLAlchemyError as error:
        raise ConfigError(f"Feast's registry can't be used ({type(error).__name__}): is its URL right?") from None


def _open(settings: Settings, project: str, make: bool) -> FeatureStore:
    url = registry_url(settings)
    try:
        make_url(url).get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise ConfigError("CLEARWELL_FEAST_REGISTRY is no URL of a database that SQLAlchemy knows.") from None
    if not make and not registry_exists(settings):
        raise ConfigError("Feast knows no feature view yet.", code="feast_is_behind", hint=Hint("features.apply"))
    store = FeatureStore(config=RepoConfig(**repository(settings, project, make=make)))
    try:
        with translate_errors():
            _ = store.registry  # connects, and makes the tables, now rather than at the first question
    except FeastRegistrySchemaError:
        raise ConfigError(
            "Feast's registry is not complete.", code="feast_is_behind", hint=Hint("features.apply")
        ) from None
    return store


@contextlib.contextmanager
def _closing(store: FeatureStore) -> Iterator[FeatureStore]:
    """Feast closes its registry's connections never, and its online store's only with `await`."""
    try:
        yield store
    finally:
        if isinstance(store.registry, SqlRegistry):
            store.registry.write_engine.dispose()
        online = store.provider.online_store
        if isinstance(online, ClearwellOnlineStore):
            online.disconnect()


@contextlib.contextmanager
def _connect(dsn: str) -> Iterator[BoundedConnection]:
    """A connection that ends with the context; what PostgreSQL raises meanwhile becomes ours."""
    server = postgres_errors.where(dsn)
    try:
        session = BoundedConnection.open(dsn, seconds=_WAIT.total_seconds() + 5)
    except psycopg.Error as error:
        raise postgres_errors.on_connect(error, server, dsn) from None
    try:
        with session:
            yield session
    except psycopg.Error as error:
        raise postgres_errors.on_statement(error, server, _MAKE) from None

"""The connection to the registry's Postgres, and what its failures mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from clearwell.deadline import call_seconds
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.postgres_connection import BoundedConnection, unanswered
from clearwell.settings import redact

Sessions = Callable[[], AbstractContextManager[Session]]
"""Opens a session in one transaction, as `Registry.session`; whose changes it audits is the opener's to say."""

_LIMITS = {"statement_timeout": "10s", "idle_in_transaction_session_timeout": "30s", "lock_timeout": "10s"}
_SECONDS = 15.0
"""Of a call on our side: a collector's lease ends soon, and what the server ends by itself comes before."""
_MISSING = ("42P01", "3F000", "42703")  # undefined table, schema, column
_REFUSED = ("42501", "28000", "28P01", "3D000")  # privilege, authorisation, password, database
_REFUSED_TEXTS = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
)


class Registry:
    """What the platform knows. Connects on first use; thread-safe; one for each process is enough."""

    def __init__(self, postgres: str) -> None:
        """`postgres` is a "postgresql://" URL. Raises ConfigError when it is none."""
        self.address = redact(postgres)
        try:
            url = make_url(postgres).set(drivername="postgresql+psycopg")
        except ArgumentError:
            raise ConfigError("CLEARWELL_POSTGRES is no postgresql:// URL: set it right.") from None
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._engine: Engine = create_engine(
            url, pool_pre_ping=True, pool_size=4, pool_timeout=_SECONDS, creator=lambda: _connected(dsn)
        )
        event.listen(self._engine, "begin", _limit_transaction)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back when anything is raised.

        Raises Retryable when Postgres is not there or not well, ConfigError when rights or tables are missing.
        """
        with self._failures(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A bare connection in one transaction; raises as `session` does."""
        with self._failures(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of all connections; calling it again is harmless."""
        self._engine.dispose()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except ClearwellError:
            raise
        except (SQLAlchemyError, PoolTimeout) as error:
            raise self._meaning(error) from None

    def _meaning(self, error: SQLAlchemyError) -> ClearwellError:
        original = error.orig if isinstance(error, DBAPIError) else None
        silence = unanswered(original)
        if silence is not None:
            return Retryable(
                f"Postgres at {self.address} took a call of the registry and has not answered for {silence.seconds:g} "
                "s: does a firewall or proxy in between drop what is sent?"
            )
        state = getattr(original, "sqlstate", None)
        if state in _MISSING:
            return ConfigError(f"The registry at {self.address} is not set up: run `clearwell up`.")
        if state in _REFUSED or (state is None and any(text in str(original) for text in _REFUSED_TEXTS)):
            return ConfigError(
                f"Postgres at {self.address} refused the connection: check user, password, database and rights."
            )
        if state is not None and state[:2] in ("22", "23", "42"):
            return ConfigError(f"Postgres at {self.address} refused a registry change (SQLSTATE {state}).")
        return Retryable(
            f"Postgres at {self.address} did not answer ({state or type(error).__name__}): is it running, and is "
            "CLEARWELL_POSTGRES right?"
        )


def _connected(dsn: str) -> BoundedConnection:
    """Outside a transaction: SQLAlchemy begins them."""
    connection = BoundedConnection.open(dsn, min(call_seconds(), _SECONDS), connect_timeout=5)
    try:
        if not connection.pooled:
            connection.set_limits(_LIMITS)
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _limit_transaction(connection: Connection) -> None:
    """Through a pooler each transaction may have another session, whose limits nobody has set."""
    session = connection.connection.driver_connection
    if isinstance(session, BoundedConnection) and session.pooled:
        session.set_limits(_LIMITS)

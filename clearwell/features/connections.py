"""Connections to PostgreSQL that threads take and give back; one that went stale is replaced unnoticed."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import psycopg

from clearwell.destinations.features.read import Session
from clearwell.destinations.postgres import errors as postgres_errors
from clearwell.postgres_connection import BoundedConnection

Result = TypeVar("Result")


class ConnectionPool:
    """As many connections as threads ever worked at once. Thread-safe; they end with the object, or with `close`."""

    def __init__(self, dsn: str) -> None:
        """Connects to nothing yet. Raises ConfigError when `dsn` can't be read."""
        self.server = postgres_errors.where(dsn)
        self._dsn = dsn
        self._free: deque[Session] = deque()
        weakref.finalize(self, _close, self._free)

    def run(self, work: Callable[[Session], Result]) -> Result:
        """What `work` makes of a connection; it is done once more, on a new one, when the connection had died.

        So `work` must be safe to repeat. Raises what `work` does, and ConfigError or Retryable where none connects.
        """
        try:
            session = self._free.pop()
        except IndexError:
            return self._done(self._connect(), work)
        try:
            return self._done(session, work)
        except psycopg.OperationalError:
            if not session.broken:
                raise
            self.close()  # all that were kept are of the same age
            return self._done(self._connect(), work)

    def close(self) -> None:
        """Close the connections that no thread has; calling it again is harmless."""
        _close(self._free)

    def _done(self, session: Session, work: Callable[[Session], Result]) -> Result:
        try:
            return work(session)
        finally:
            if session.broken or session.closed:
                session.close()
            else:
                self._free.append(session)

    def _connect(self) -> Session:
        try:
            return BoundedConnection.open(self._dsn, fallback_application_name="clearwell feast")
        except psycopg.Error as error:
            raise postgres_errors.on_connect(error, self.server, self._dsn) from None


def _close(sessions: deque[Session]) -> None:
    while sessions:
        with contextlib.suppress(psycopg.Error, IndexError):
            sessions.pop().close()

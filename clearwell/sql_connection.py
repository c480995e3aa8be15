"""Connections that SQLAlchemy makes for sources and destinations: bounded, and only to where they may go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine

from clearwell.deadline import call_seconds
from clearwell.egress import connect, require_allowed
from clearwell.errors import ConfigError
from clearwell.postgres_connection import DEFAULTS, BoundedConnection, pinned

CONNECT_SECONDS = 10.0

_PORTS = {"mssql": 1433, "oracle": 1521}
_CAN_NOT_CONNECT = 2003  # MySQL's CR_CONN_HOST_ERROR
_FILES = ("read_default_file", "option_files", "passfile", "servicefile")
"""Options of drivers that read who and where from a file of this machine."""


def guard(engine: Engine) -> None:
    """Let `engine` connect so; a name is resolved once by the drivers psycopg and PyMySQL, twice by others.

    A connection then raises ConfigError where its address may not be reached, Retryable where a name can't be resolved.
    """
    event.listen(engine, "do_connect", _connect)


def _connect(dialect: Dialect, _record: Any, args: list[Any], options: dict[str, Any]) -> Any:
    """None leaves it to SQLAlchemy."""
    for name in _FILES:
        if name in options:
            raise ConfigError(f"`url` has the option {name}: write what is in that file into the URL instead.")
    if dialect.driver == "psycopg":
        return _postgres(options)
    if dialect.driver == "pymysql":
        return _mysql(dialect, args, options)
    host = options.get("host") or options.get("server")
    if isinstance(host, str) and not host.startswith("/"):
        require_allowed(host, int(options.get("port") or _PORTS.get(dialect.name, 0)))
    return None


def _postgres(options: Mapping[str, Any]) -> BoundedConnection:
    connection = BoundedConnection.connect(**pinned({**DEFAULTS, **options}))
    connection.seconds = call_seconds()
    return connection


def _mysql(dialect: Dialect, args: list[Any], options: Mapping[str, Any]) -> Any:
    """PyMySQL waits `read_timeout` for each piece of an answer: of one that swallows there is none."""
    bound = call_seconds()
    limits = {name: min(float(options.get(name) or bound), bound) for name in ("read_timeout", "write_timeout")}
    if options.get("unix_socket"):
        return dialect.loaded_dbapi.connect(*args, **{**options, **limits})
    made: Any = dialect.loaded_dbapi.connect(*args, **{**options, **limits, "defer_connect": True})
    try:
        sock = connect(made.host, made.port, CONNECT_SECONDS)
    except OSError as error:  # as the driver tells of it: SQLAlchemy, and who calls it, know only its errors
        raise dialect.loaded_dbapi.OperationalError(_CAN_NOT_CONNECT, type(error).__name__) from None
    sock.settimeout(bound)
    made.connect(sock)
    return made

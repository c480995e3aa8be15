"""A real MariaDB as a process on a free loopback port; tests that need one skip where it is not installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pymysql

from tests.support.collecting import until
from tests.support.missing import program, skip_without

MARIADBD = program("mariadbd")
INSTALL = program("mariadb-install-db")
PASSWORD = "canary-mariadb-password"
NOBODY = "nobody"


class MariaDb:
    """A running server with the user "writer"; `url()` leads into a database."""

    def __init__(self) -> None:
        if MARIADBD is None or INSTALL is None:
            skip_without("MariaDB", "apt-get install mariadb-server")
        self.folder = Path(tempfile.mkdtemp(prefix="clearwell-mariadb-"))
        self.data = self.folder / "data"
        self.data.mkdir()
        if os.geteuid() == 0:  # it does not run as root
            user = pwd.getpwnam(NOBODY)
            for path in (self.folder, self.data):
                os.chown(path, user.pw_uid, user.pw_gid)
        command = [INSTALL, f"--datadir={self.data}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([*command, "--no-defaults", *self._user()], check=True, capture_output=True, cwd="/")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.start()
        self.run(f"CREATE USER writer@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON *.* TO writer@'%'")

    def start(self) -> None:
        """Start it (again), on the same port."""
        assert MARIADBD is not None
        options = [f"--datadir={self.data}", f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        options += [f"--socket={self.folder}/s", f"--pid-file={self.folder}/pid", "--max-allowed-packet=4M"]
        options += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=2"]
        self._log = (self.folder / "server.log").open("ab")
        command = [MARIADBD, "--no-defaults", *options, *self._user()]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd="/")
        until(self._listens)

    def stop(self) -> None:
        """End it; its data stay."""
        self._process.kill()
        self._process.wait(30)
        self._log.close()

    def close(self) -> None:
        """End it and wipe it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, user: str = "writer", password: str = PASSWORD) -> str:
        """A SQLAlchemy URL."""
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """As root; gives the rows of the last statement."""
        session = pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True)
        with session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def _user(self) -> list[str]:
        return [f"--user={NOBODY}"] if os.geteuid() == 0 else []

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

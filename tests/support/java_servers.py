"""Servers written in Java for tests: their jars from Maven into the user's cache, and a process on free ports."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearwell.local.jars import cache_folder
from tests.support.collecting import until
from tests.support.missing import skip_without

NOBODY = "nobody"


def jars(*roots: str, alone: Sequence[str] = ()) -> dict[str, list[Path]]:
    """The jars of `roots` with all they need at run time, and those of `alone` without; by artifact.

    `roots` and `alone` are coordinates "group:artifact:version". Skips the test where they can't be downloaded.
    """
    import requests
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=cache_folder() / "maven", timeout=30)
    found: dict[str, list[Path]] = {}
    try:
        direct, indirect = context.resolver.resolve([context.create_dependency(root) for root in roots])
        wanted = [*direct, *(one for one in indirect if one.scope in ("compile", "runtime"))]
        for dependency in [*wanted, *(context.create_dependency(one) for one in alone)]:
            path = Path(dependency.artifact.resolve())
            if path not in found.setdefault(dependency.artifactId, []):
                found[dependency.artifactId].append(path)
    except (requests.RequestException, RuntimeError) as error:
        skip_without(f"{roots[0]} from Maven Central ({type(error).__name__})", "let this machine reach it once")
    return found


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class JavaServer:
    """A Java process in a folder of its own. Subclasses set `ports` and `command`, and say when it `is_ready`."""

    def __init__(self, name: str, ports: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"clearwell-{name}-"))
        self.ports = free_ports(ports)
        self.command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def is_ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it (again), on the same ports; as root, under another user."""
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            owner = pwd.getpwnam(user)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.folder, user=user, env=self.environment()
            )
        until(self._answers, seconds=240)

    def environment(self) -> Mapping[str, str]:
        """A short one."""
        return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def stop(self) -> None:
        """Kill it; its data stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def close(self) -> None:
        """Kill it and wipe it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "server.log"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-4000:]
        return self.is_ready()

"""Services forked off a process that has imported everything, so that one more of them costs milliseconds."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from multiprocessing.context import ForkServerContext
from pathlib import Path

from clearwell.plugins.kinds import SOURCES
from clearwell.registry import leases
from clearwell.registry.models import ProcessRow
from tests.support.collecting import CHECKOUT, Sandbox, until

SERVICES = ("collector", "worker")
STORES = ("clearwell.destinations.postgres.destination", "clearwell.destinations.mongo.destination")


class ForkedProcess:
    """`python -m services.NAME`, without the seconds that its imports take; what is used of `subprocess.Popen`."""

    def __init__(self, name: str, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._arguments = arguments
        self._process = fork_server().Process(target=_serve, args=(name, arguments, dict(env), log), daemon=True)
        self._process.start()
        self.pid = int(self._process.pid or 0)

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Forked:
    """A collector for one connector, as its own process; its log is in a file."""

    def __init__(self, sandbox: Sandbox, name: str, *options: str, **env: str) -> None:
        self._sandbox, self._name = sandbox, name
        self._log = sandbox.folder / "collector.log"
        self._log.touch()
        self._before = self._log.stat().st_size
        arguments = ["--connector", name, *options]
        self._process = ForkedProcess("collector", arguments, {**sandbox.environment(), **env}, self._log)

    def said(self) -> str:
        """What it has logged so far."""
        with self._log.open("rb") as log:
            log.seek(self._before)
            return log.read().decode(errors="replace")

    def wait_until_begun(self) -> None:
        """Until it reads or takes requests, or has ended."""
        begun = "reading into", "taking requests"
        try:
            until(lambda: self.ended() or any(words in self.said() for words in begun))
        except AssertionError:
            raise AssertionError(f"The collector did not begin: {self.said()}") from None

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL; what is left of it in the registry goes at once, as it would when its lease had run out."""
        self._process.kill()
        self._process.wait(20)
        with self._sandbox.registry.session() as session:
            for one in session.query(ProcessRow.id).filter_by(scope=self._name).all():
                leases.leave(session, one.id)

    def stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()
        self._process.wait(20)

    def finish(self, seconds: float) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(seconds)


@functools.cache
def fork_server() -> ForkServerContext:
    """Its process holds all that services import, and no threads."""
    context = multiprocessing.get_context("forkserver")
    sources = sorted({entry.module for entry in entry_points(group=SOURCES)})
    services = [f"services.{name}.__main__" for name in SERVICES]
    context.set_forkserver_preload(["__main__", *services, __name__, *STORES, *sources])
    return context


def _serve(name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """In the child: as `python -m services.NAME` with these arguments."""
    main = importlib.import_module(f"services.{name}.__main__").main
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(CHECKOUT)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [f"services.{name}", *arguments]
    sys.exit(main())

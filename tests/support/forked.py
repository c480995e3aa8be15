"""Collectors forked off a process that has imported everything, so that one more of them costs milliseconds."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from multiprocessing.context import ForkServerContext
from pathlib import Path

from clearwell.registry import leases
from clearwell.registry.kinds import SOURCES
from clearwell.registry.models import CollectorRow
from tests.support.collecting import CHECKOUT, Sandbox, until


class Forked:
    """A collector for one connector, as its own process; its log is in a file."""

    def __init__(self, sandbox: Sandbox, name: str, *options: str, **env: str) -> None:
        self._sandbox, self._name = sandbox, name
        self._log = sandbox.folder / "collector.log"
        self._log.touch()
        self._before = self._log.stat().st_size
        arguments = ["--connector", name, *options]
        environment = {**sandbox.environment(), **env}
        self._process = _server().Process(target=_collect, args=(arguments, environment, self._log), daemon=True)
        self._process.start()

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
        return not self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL; what is left of it in the registry goes at once, as it would when its lease had run out."""
        self._process.kill()
        self._gone()
        with self._sandbox.registry.session() as session:
            for one in session.query(CollectorRow.id).filter_by(scope=self._name).all():
                leases.leave(session, one.id)

    def stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()
        self._gone()

    def finish(self, seconds: float) -> int | None:
        """Wait for its end; the exit code."""
        until(self.ended, seconds)
        code = self._process.exitcode
        self._gone()
        return code

    def _gone(self) -> None:
        self._process.join(20)
        self._process.close()


@functools.cache
def _server() -> ForkServerContext:
    """Its process holds all that a collector imports, and no threads."""
    context = multiprocessing.get_context("forkserver")
    sources = sorted({entry.module for entry in entry_points(group=SOURCES)})
    context.set_forkserver_preload(["__main__", "services.collector.__main__", __name__, *sources])
    return context


def _collect(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """In the child: as `python -m services.collector` with these arguments."""
    from services.collector.__main__ import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(CHECKOUT)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["services.collector", *arguments]
    sys.exit(main())

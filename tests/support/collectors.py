"""Several collectors as processes, each limited to the connectors of one test, and who holds what."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clearwell.registry import leases
from tests.support.collecting import Sandbox
from tests.support.forked import ForkedProcess

_numbers = itertools.count()


class Process:
    """A collector as a process of its own; its log is in a file."""

    def __init__(self, sandbox: Sandbox, names: Sequence[str], **env: str) -> None:
        arguments = [word for name in names for word in ("--connector", name)]
        self._log = sandbox.folder / f"collector{next(_numbers)}.log"
        self._log.touch()
        self.process = ForkedProcess("collector", arguments, {**sandbox.environment(), **env}, self._log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def lines(self) -> list[str]:
        """What it has logged so far."""
        return self._log.read_text(errors="replace").splitlines(keepends=True)

    def said(self, text: str) -> bool:
        """Whether a line of the log has `text` in it."""
        return any(text in line for line in self.lines)

    def end(self) -> None:
        """SIGKILL, whatever it is doing."""
        self.process.kill()
        self.process.wait()


def held(sandbox: Sandbox, names: Sequence[str]) -> dict[str, int]:
    """The process id of the collector that holds each connector."""
    with sandbox.registry.session() as session:
        found = leases.holders(session, names)
    return {name: int(holder.process.rpartition(":")[2]) for name, holder in found.items()}


def shares(sandbox: Sandbox, names: Sequence[str]) -> list[int]:
    """How many each collector holds, largest first."""
    return sorted(Counter(held(sandbox, names).values()).values(), reverse=True)


def growing(sandbox: Sandbox, name: str) -> tuple[str, Path]:
    """A connector that follows a file of its own, and the file."""
    path = sandbox.folder / f"{name}.ndjson"
    path.write_bytes(b"")
    return sandbox.add(name, path=str(path), follow=True, poll_seconds=0.05, batch_events=50), path

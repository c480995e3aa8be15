"""Several collectors as processes, each limited to the connectors of one test, and who holds what."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clearwell.registry import leases
from tests.support.collecting import CHECKOUT, Sandbox


class Process:
    """A collector process; its log is read along, so that it never blocks."""

    def __init__(self, sandbox: Sandbox, names: Sequence[str], **env: str) -> None:
        args = [word for name in names for word in ("--connector", name)]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.collector", *args],
            env=os.environ | dict(sandbox.environment()) | env,
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def said(self, text: str) -> bool:
        """Whether a line of the log has `text` in it."""
        return any(text in line for line in self.lines)

    def end(self) -> None:
        """SIGKILL, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)


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

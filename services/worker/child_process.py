"""A job in a process of its own, since it held up its neighbours: `python -m services.worker --job NAME`.

It tells the registry itself how it is; this worker keeps its lease, and starts it again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping

from clearwell.errors import Fatal
from clearwell.local import child

ENDS_WITHIN = 20.0
"""Seconds that it may take to stop; then it is killed."""


class ChildProcess:
    """Starts at once; the kernel ends it when this process dies."""

    def __init__(self, name: str) -> None:
        argv = [*child.prefix(signal.SIGTERM), sys.executable, "-m", "services.worker", "--job", name, "--leased"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        self.is_started = True

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def failure(self) -> BaseException | None:
        """What it ended by, as far as its exit code tells; its log tells more."""
        code = self._process.poll()
        return None if not code else Fatal(f"Its process ended with exit code {code}: see the worker's log.")

    def positions(self) -> Mapping[int, int] | None:
        """Unknown here."""
        return None

    def held_positions(self) -> Mapping[int, int] | None:
        """Unknown here."""
        return None

    def stop(self) -> None:
        """Ask it to stop."""
        if not self.has_ended:
            self._process.terminate()

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def stuck(self, seconds: float) -> str | None:
        """Nothing that this worker must care about: it has its own processor time."""
        return None

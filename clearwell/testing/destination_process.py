"""A deliverer as a process of its own, to be killed: `python -m clearwell.testing.destination_process`.

It is told its work as a pickle on standard input, and says a line on standard output after each call.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from clearwell.contract.model import CleanSchema
from clearwell.testing.destination_events import TOPIC, CleanEvent, batches_of

GO = b"go\n"


class WritingProcess:
    """Claims with `generation`, once it is told to go, and writes what is left of `events` in flushes of `size`.

    The case is pickled: its class must be one that can be imported.
    """

    def __init__(
        self, generation: int, case: Any, schema: CleanSchema, group: str, events: Sequence[CleanEvent], size: int
    ) -> None:
        """Starts it; it prepares itself and waits."""
        work = pickle.dumps(sys.path) + pickle.dumps((case, schema, group, list(events), size, generation))
        command = [sys.executable, "-m", "clearwell.testing.destination_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._in.write(work)
        self._in.flush()

    def kill_after(self, writes: int) -> None:
        """Let it go; SIGKILL while it does whatever comes after that many writes."""
        assert self._out.readline() == b"ready\n", "The process to be killed did not begin: see its error above."
        self._in.write(GO)
        self._in.flush()
        for _ in range(1 + writes):
            said = self._out.readline()
            assert said, "The process to be killed ended by itself: see its error above."
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Whatever it does."""
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()


def main() -> None:
    """In the process."""
    sys.path[:] = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the test itself
    case, schema, group, events, size, generation = pickle.load(sys.stdin.buffer)  # noqa: S301
    destination = case.destination(schema, group)
    destination.open()
    _say("ready")
    if sys.stdin.buffer.readline() != GO:
        return
    claim = destination.claim(TOPIC, 0, generation)
    _say("claimed")
    for batch in batches_of(events, claim, size):
        destination.write(batch)
        _say("written")
    sys.stdin.buffer.read()  # until it is killed


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Processes that tests start: none outlives its test, so that one failure does not hang or fail the next test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def killed_at_end(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process (options as of Popen), killed by SIGKILL at the end of the block if it still runs, and waited for."""
    with subprocess.Popen(list(argv), **options) as process:
        try:
            yield process
        finally:
            process.kill()  # no effect on one that has ended

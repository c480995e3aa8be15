"""A process that may open no more files says so, and goes on when it may again."""

from __future__ import annotations

import errno
import logging
import resource
import time
from typing import Any

log = logging.getLogger(__name__)

TELL_SECONDS = 10.0
"""How often the event loop's own trouble with it is told."""


def out_of_files(error: BaseException | None) -> str | None:
    """A sentence when `error`, or what it came of, is that no more files or sockets may be opened; else None."""
    for _ in range(10):
        if error is None:
            return None
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return (
                f"No more files and sockets may be opened here (the limit of this process is {most}): raise it "
                "(`ulimit -n`), or spread the connectors over more collectors; trying again."
            )
        error = error.__cause__ or error.__context__
    return None


class LoopTrouble:
    """The event loop's handler of exceptions that nobody waits for: the listener can't accept, say."""

    def __init__(self) -> None:
        self._told = float("-inf")

    def __call__(self, loop: Any, context: dict[str, Any]) -> None:
        """One sentence now and then for a lack of files; all else as the loop does it."""
        said = out_of_files(context.get("exception"))
        if said is None:
            loop.default_exception_handler(context)
        elif time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            log.warning("%s", said)

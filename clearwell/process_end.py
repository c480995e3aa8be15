"""The end of a process: once it is decided, it comes within seconds, whatever is stuck (invariant 12).

A thread that waits for a store, an event loop that closes, memory that is refused: each can hold an orderly exit up for
ever. So the kernel is asked to end the process in a while, which needs neither memory nor a thread of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

FAILED_WITHIN = 10.0
"""Seconds that a process which ends by an error may take for its last words."""


def end_within(seconds: float) -> None:
    """From now on the process has `seconds` left; SIGALRM ends it then. A later call can only shorten that."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    if not left or seconds < left:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def leave(code: int) -> NoReturn:
    """No goodbye: neither threads nor the event loop are waited for."""
    end_within(FAILED_WITHIN)
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run_and_leave(work: Callable[[], Coroutine[Any, Any, int]], report: Callable[[BaseException], int]) -> NoReturn:
    """Run `work` in an event loop and end the process with its exit code, or with what `report` makes of its failure.

    The loop is never closed: that waits for its threads, and starts one, which fails where memory is refused.
    """
    runner = asyncio.Runner()
    try:
        code = runner.run(work())
    except BaseException as error:
        end_within(FAILED_WITHIN)
        code = 70  # also when there is no memory to report by
        with contextlib.suppress(BaseException):
            code = report(error)
    leave(code)

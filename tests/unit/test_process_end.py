"""A process that has decided to end, ends, whatever is stuck; its exit code says how."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

_HANGING = """
import asyncio, os, threading, time
from clearwell import process_end
from clearwell.errors import Fatal
process_end.FAILED_WITHIN = 1.0
{more}
async def work():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)  # a store that never answers
    threading.Thread(target=threading.Event().wait).start()
    await asyncio.sleep(0.05)
    {end}
def report(error):
    {report}
process_end.run_and_leave(work, report)
"""


@pytest.mark.parametrize(
    ("end", "report", "code"),
    [
        ("return 3", "return 1", 3),
        ("raise ValueError", "return 9", 9),
        ("raise MemoryError", "raise MemoryError", 70),
        ("raise SystemExit", "return 5", 5),
        ("raise ValueError", "time.sleep(60)", -signal.SIGALRM),
        ("process_end.end_within(0.2); time.sleep(60)", "return 1", -signal.SIGALRM),
        ("process_end.end_within(0.2); await asyncio.to_thread(time.sleep, 60)", "return 1", -signal.SIGALRM),
    ],
)
def test_it_ends_whatever_is_stuck(end: str, report: str, code: int) -> None:
    program = _HANGING.format(end=end, report=report, more="")
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == code


def test_it_ends_where_no_thread_can_be_started() -> None:
    """As with memory refused: closing the loop would start a thread and wait for it for ever."""
    more = "def refuse(self): threading.Event().wait()"
    end = "threading.Thread.start = refuse; raise MemoryError"
    program = _HANGING.format(end=end, report="return 70", more=more)
    began = time.monotonic()
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 70
    assert time.monotonic() - began < 20


def test_a_later_bound_only_shortens() -> None:
    program = (
        "from clearwell.process_end import end_within; import time; end_within(0.3); end_within(60); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == -signal.SIGALRM

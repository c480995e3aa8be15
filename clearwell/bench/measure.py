"""Run a process, watch it work, and say how fast it was and what it took."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from clearwell.errors import Fatal

LOOK = 0.05
"""Seconds between two looks at a counter."""

PATIENCE = 300.0
"""Seconds without any progress after which a measurement is given up."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Events a second from the first to the last progress seen, and CPU seconds spent meanwhile (all processes)."""

    events_per_second: float
    cpu_seconds: float
    peak_rss_mb: float
    """The largest resident set of any one process."""


@contextmanager
def running(module: str, arguments: Sequence[str], env: Mapping[str, str]) -> Iterator[psutil.Process]:
    """`python -m module arguments` for as long as the block runs; its log is thrown away unless it fails."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        yield psutil.Process(process.pid)
    finally:
        ended = process.poll()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        if process.stderr is not None:
            process.stderr.close()
        if ended:
            raise Fatal(f"{module} ended by itself with exit code {ended}: {''.join(log[-5:]).strip()}")


def watch(processes: Sequence[psutil.Process], done: Callable[[], int], total: int) -> Measurement:
    """Look at `done()` until it reaches `total`. Raises Fatal when nothing moves for a long time or a process ends."""
    first = last = None
    peak = 0
    moved = time.monotonic()
    before = 0.0
    while True:
        count, now = done(), time.monotonic()
        peak = max(peak, *(process.memory_info().rss for process in processes))
        if count and first is None:
            first, before = (now, count), _cpu(processes)
        if last is None or count > last[1]:
            last, moved = (now, count), now
        if first is not None and count >= total:
            break
        if now - moved > PATIENCE:
            raise Fatal(f"Nothing moved for {PATIENCE:.0f} s: {count} of {total} events were done.")
        time.sleep(LOOK)
    seconds = max(last[0] - first[0], LOOK)
    return Measurement((last[1] - first[1]) / seconds, _cpu(processes) - before, peak / 1e6)


def _cpu(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(process_times.user + process_times.system for process_times in times))

"""What a process takes of its host, as it says itself."""

from __future__ import annotations

import time

import psutil

from clearwell.metrics.window import Window


class ProcessLoad:
    """Of this process; to be read every few seconds."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._window = Window(time.monotonic(), time.process_time())

    def read(self) -> tuple[float, float]:
        """The part of a core that it took over the last minute, all threads together, and its memory (RSS) in MB."""
        (busy,) = self._window.rates(time.monotonic(), time.process_time())
        return busy, self._process.memory_info().rss / 1_000_000

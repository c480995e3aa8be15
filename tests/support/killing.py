"""What tests share that kill services at random moments: a seed that is printed, and events that keep coming."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.platform import Platform, numbered

KILLS = int(os.environ.get("CLEARWELL_KILLS", "4"))
"""How often a test kills real processes; ten is the proof. `TestPlatform.run_with_kills` does it more often."""


def dice() -> random.Random:
    """A random generator whose seed is in the output of a failed test."""
    seed = int(os.environ.get("SEED", time.time_ns()))
    print(f"SEED={seed}")  # noqa: T201
    return random.Random(seed)


class Feed:
    """Puts numbered events into raw, in bursts, until told to stop; remembers them."""

    def __init__(
        self, platform: Platform, burst: int = 400, make: Callable[[int, int], Iterator[bytes]] = numbered
    ) -> None:
        """`burst` events five times a second; `make(count, start)` makes good ones with ids of their own."""
        self._burst = burst
        self._make = make
        self.values: list[bytes] = []
        self._platform = platform
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Feeds while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            burst = list(self._make(self._burst, len(self.values)))
            burst.insert(self._burst // 3, b"{broken")
            self._platform.put(burst)
            self.values += burst
            self.values.remove(b"{broken")

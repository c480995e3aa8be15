"""Kills a process at random, before or after what it does to the world, as a power cut would."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class ProcessKilled(Exception):
    """The process is gone: nothing that it had in mind is done."""


class Kills:
    """Draws from a sequence of its own for each kind of act, so that a seed means the same whatever threads do."""

    def __init__(self, seed: int = 0, rate: float = 0.0) -> None:
        """`rate` is how likely one act is the last; half of them happen before it ends."""
        self._seed = seed
        self._rate = rate
        self._sequences: dict[str, random.Random] = {}
        self.count = 0

    def around(self, act: str, work: Callable[[], Result]) -> Result:
        """Do what `act` names. Raises ProcessKilled before it, or after it was done."""
        self.draw(act)
        result = work()
        self.draw(act)
        return result

    def draw(self, act: str) -> None:
        """Raise ProcessKilled where the process ends here."""
        sequence = self._sequences.setdefault(act, random.Random(f"{self._seed} {act}"))  # noqa: S311
        if self._rate and sequence.random() < self._rate / 2:
            self.count += 1
            raise ProcessKilled(act)

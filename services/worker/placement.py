"""Which of the free jobs a worker takes: the jobs of one stream go to different workers, as far as that can be.

A cleaner and a deliverer of one process share its interpreter: beside each other, a busy stream is half as fast.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from clearwell.registry.jobs import JobKind, JobSpec


def choose(free: Iterable[JobSpec], held: Iterable[JobSpec], room: int) -> list[str]:
    """The names of at most `room` of the `free` jobs: of streams of which the fewest are `held` here.

    Among equals it is chance, so that two workers seldom want the same. Copiers have little to do, and never count.
    """
    left = list(free)
    random.shuffle(left)
    beside = Counter(spec.stream for spec in held if spec.kind is not JobKind.DEAD_LETTERS)
    chosen: list[str] = []
    while left and len(chosen) < room:
        spec = min(left, key=lambda spec: 0 if spec.kind is JobKind.DEAD_LETTERS else beside[spec.stream])
        left.remove(spec)
        beside[spec.stream] += spec.kind is not JobKind.DEAD_LETTERS
        chosen.append(spec.name)
    return chosen

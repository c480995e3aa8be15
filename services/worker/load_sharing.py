"""Which jobs a worker gives away: all while it drains, what sleeps where others have fewer, now and then a busy one.

Jobs are spread by measured load, not by count: what sleeps costs nothing to move and is spread evenly, what is busy
moves where the busiest worker has clearly more to do than the least busy, and a few times a minute at most.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from services.worker.hosted_job import HostedJob
from services.worker.registry_exchange import Answer

CLEARLY_MORE = 0.25
"""Of a core: a smaller difference between two workers is none."""

MOST_MOVES, MOVES_SECONDS = 3, 60.0
"""So many busy jobs are moved in so many seconds at most."""

BETWEEN_SECONDS = 20.0
"""Between two moves: what the last one has changed must be seen first."""


class Surplus:
    """Chooses; `offered` remembers to whom, by the job's name."""

    def __init__(self) -> None:
        self.offered: dict[str, str] = {}
        self._moves: deque[float] = deque()

    def choose(self, hosted: Mapping[str, HostedJob], answer: Answer, busy_of: Mapping[str, float]) -> list[str]:
        """The names of the jobs that are to stop here, so that others take them.

        `busy_of`: the part of a core that each took in the last minute.
        """
        if answer.draining and any(worker.id for worker in answer.workers):
            return list(hosted)
        excess = len(hosted) - answer.share
        sleeping = [name for name, job in hosted.items() if job.is_asleep]
        names = sleeping[: max(0, excess)]
        busiest = self._move_for_load(hosted, answer, busy_of)
        return names + ([busiest] if busiest is not None and busiest not in names else [])

    def _move_for_load(
        self, hosted: Mapping[str, HostedJob], answer: Answer, busy_of: Mapping[str, float]
    ) -> str | None:
        loads = {name: busy for name, busy in busy_of.items() if name in hosted}
        others = [worker for worker in answer.workers if worker.id != answer.me]
        mine = next((worker.busy for worker in answer.workers if worker.id == answer.me), 0.0)
        now = time.monotonic()
        while self._moves and now - self._moves[0] > MOVES_SECONDS:
            self._moves.popleft()
        if not others or len(self._moves) >= MOST_MOVES or (self._moves and now - self._moves[-1] < BETWEEN_SECONDS):
            return None
        least = min(others, key=lambda worker: worker.busy)
        difference = mine - least.busy
        movable = {name: load for name, load in loads.items() if 0 < load < difference}
        if difference < CLEARLY_MORE or not movable or len(loads) < 2:
            return None
        name = min(movable, key=lambda name: abs(movable[name] - difference / 2))
        self.offered[name] = least.id
        self._moves.append(now)
        return name

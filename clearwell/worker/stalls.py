"""Tells of a partition that stands still: what was fetched is not acknowledged, or what is acknowledged not committed.

Faust's own detector calls a healthy worker stuck: it compares the newest offset with the last commit, whatever is in
between, and says so hundreds of times. This one looks at the oldest batch that is under way; while that stays the same
for a minute, it is told, once a minute. A partition without a batch under way waits for nothing of ours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from faust.types import TP

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a batch may be under way before that is told, and until it is told again."""


@dataclass(slots=True)
class _Oldest:
    offset: int
    waits_for_commit: bool
    since: float
    told: float


class Stalls:
    """Is shown the oldest batch of each partition again and again."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._oldest: dict[TP, _Oldest] = {}

    def look(self, tp: TP, offset: int | None, waits_for_commit: bool, now: float) -> None:
        """`offset` is the last one of the oldest batch under way, None where there is none; `now` is in seconds.

        `waits_for_commit`: all that it produced is durable, and only its offset is still to be committed.
        """
        if offset is None:
            self._oldest.pop(tp, None)
            return
        known = self._oldest.get(tp)
        if known is None or (known.offset, known.waits_for_commit) != (offset, waits_for_commit):
            self._oldest[tp] = _Oldest(offset, waits_for_commit, now, now)
        elif now - known.told >= self._seconds:
            known.told = now
            what = "are durable, but not committed" if waits_for_commit else "are under way, and not durable yet"
            log.warning(
                "%s, partition %d: the events up to offset %d %s since %.0f s.",
                tp.topic, tp.partition, offset, what, now - known.since,
            )  # fmt: skip

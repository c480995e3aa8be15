"""Keeps tables in few, large files while they are written: not too many commits, joined files, no old ones.

A commit costs a file and an entry of the log however few rows it has, so small ones wait for each other; after so many
of them the writer itself compacts, on its own thread, and once a day vacuums. There is nothing to schedule beside it
(docs/decisions/0010-lake.md). Trouble with that never stops the writing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from clearwell.destinations.lake.compaction import compact
from clearwell.destinations.lake.root import TableLocation
from clearwell.destinations.lake.tables import RETENTION, vacuum
from clearwell.errors import ClearwellError, ConfigError

log = logging.getLogger(__name__)

FULL = 5_000
"""Rows from which on a commit does not wait: its files are large enough."""

VACUUM_EVERY = 86_400.0
"""Seconds between two vacuums of one writer."""


@dataclass(frozen=True, slots=True)
class CommitPace:
    """`seconds` between two commits of few rows; `compact_every` so many commits (0: never)."""

    seconds: float = 5.0
    compact_every: int = 500

    @classmethod
    def of(cls, env: Mapping[str, str] = os.environ) -> CommitPace:
        """CLEARWELL_LAKE_COMMIT_SECONDS and CLEARWELL_LAKE_COMPACT_EVERY. Raises ConfigError on other than numbers."""
        seconds = _number(env, "CLEARWELL_LAKE_COMMIT_SECONDS", cls().seconds)
        return cls(seconds, int(_number(env, "CLEARWELL_LAKE_COMPACT_EVERY", cls().compact_every)))


NO_PACE = CommitPace(0.0, 0)
"""Every commit at once, nothing compacted."""


class TableUpkeep:
    """Of one table, by one of its writers."""

    def __init__(self, location: TableLocation, pace: CommitPace) -> None:
        self._place = location
        self._pace = pace
        self._last = -pace.seconds
        self._commits = 0
        self._vacuumed = time.monotonic()  # a service that restarts all the time should not vacuum all the time

    def wait(self, rows: int) -> None:
        """Before a commit: blocks while the last one is too recent for one of so few rows."""
        if rows < FULL:
            time.sleep(max(0.0, self._last + self._pace.seconds - time.monotonic()))

    def committed(self) -> None:
        """After a commit; compacts when it is time."""
        self._last = time.monotonic()
        self._commits += 1
        if self._pace.compact_every and self._commits >= self._pace.compact_every:
            self._commits = 0
            self._tidy()

    def _tidy(self) -> None:
        try:
            done = compact(self._place)
            log.info("compacted %s: %d files became %d", self._place.shown, done.removed, done.added)
            if time.monotonic() - self._vacuumed >= VACUUM_EVERY:
                self._vacuumed = time.monotonic()
                gone = vacuum(self._place, RETENTION, dry_run=False, full=False)
                log.info("vacuumed %s: %d files", self._place.shown, len(gone))
        except ClearwellError as error:
            log.warning("%s is not compacted this time: %s", self._place.shown, error)


def _number(env: Mapping[str, str], name: str, usual: float) -> float:
    text = env.get(name) or str(usual)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise ConfigError(f"{name} must be a number, 0 or more, not {text!r}.")
    return number

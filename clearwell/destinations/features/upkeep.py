"""Keeps a feature view small: joins the small files of its history, and removes tiles that no window needs any more.

`clearwell feature compact` does it at once; a deliverer does it every so many of its commits, on the thread that
writes, as the writers of the lake do: there is nothing to schedule. Trouble with it never stops the writing.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from clearwell.contract.features import FeatureView
from clearwell.destinations.features import history_compaction, retention_floor, tile_pruning
from clearwell.destinations.features.history_files import events_folder
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.postgres.positions import SCHEMA
from clearwell.errors import ConfigError, Retryable
from clearwell.postgres_connection import BoundedConnection

log = logging.getLogger(__name__)

EVERY = 500
"""Commits of a deliverer between two times; CLEARWELL_FEATURES_COMPACT_EVERY says otherwise (0: never)."""

_STEPS = 64
"""Steps of `tile_pruning.BLOCKS` a deliverer goes each time: 2 GiB of tiles; it goes on from there the next time."""

_NEWEST = SQL("SELECT max(last_time) FROM {} WHERE view_name = %s").format(Identifier(SCHEMA, "offline"))
_TAKE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_GIVE_BACK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


@dataclass(frozen=True, slots=True)
class CompactionPlan:
    """What `compact` would do: of `files` join `small` ones `into` so many, remove those `replaced` before, and of
    `tiles` those `needless` that begin before `floor`.

    `beneath` are the events that came when their tile was not kept any more; they are in the history alone. `digest` is
    that of the definition it was planned by.
    """

    view: str
    files: int
    small: int
    into: int
    replaced: int
    tiles: int
    needless: int
    beneath: int
    floor: datetime | None
    digest: str


@dataclass(frozen=True, slots=True)
class ViewCompaction:
    """What `compact` did: `removed` files became `added`, `swept` ones replaced before are gone, as are `tiles`."""

    view: str
    removed: int
    added: int
    swept: int
    tiles: int
    floor: datetime | None
    block: int = 0


def plan(session: Connection[Any], view: FeatureView, now: datetime) -> CompactionPlan:
    """Look, and change nothing. Raises what psycopg raises."""
    files = history_compaction.listed(session, view.name)
    groups = list(history_compaction.groups(files))
    small, due = sum(len(group) for group in groups), history_compaction.due(session, view.name)
    if view.tile is None:
        return CompactionPlan(view.name, len(files), small, len(groups), due, 0, 0, 0, None, view.digest())
    floors = [retention_floor.read(session, view.name), _wanted(session, view, now)]
    floor = max((floor for floor in floors if floor is not None), default=None)
    tiles, needless = tile_pruning.count(session, view, floor) if floor is not None else (0, 0)
    beneath = retention_floor.beneath(session, view.name)
    return CompactionPlan(
        view.name, len(files), small, len(groups), due, tiles, needless, beneath, floor, view.digest()
    )


def compact(
    session: Connection[Any],
    root: Folder,
    view: FeatureView,
    now: datetime,
    *,
    first: int = 0,
    steps: int | None = None,
    grace: timedelta = history_compaction.GRACE,
    target: int = history_compaction.TARGET,
) -> ViewCompaction:
    """Do it, tiles in `steps` from block `first` on (None: all of them). `session` is in autocommit.

    Killed anywhere, it leaves nothing that a reader could take for something else, and the next time mends it. Raises
    Retryable while somebody else does it, ConfigError and Retryable as `history_compaction.join`, and what psycopg
    raises.
    """
    folder = events_folder(root, view.name)
    with _alone(session, view):
        floor = _raised(session, view, now)
        tiles, block = tile_pruning.prune(session, view, floor, first, steps) if floor is not None else (0, 0)
        swept = history_compaction.sweep(session, folder, view.name, grace)
        joined = history_compaction.join(session, folder, view.name, target)
    return ViewCompaction(view.name, joined.removed, joined.added, swept, tiles, floor, block)


def _raised(session: Connection[Any], view: FeatureView, now: datetime) -> datetime | None:
    target = _wanted(session, view, now)
    return None if target is None else retention_floor.raise_to(session, view.name, target)


def _wanted(session: Connection[Any], view: FeatureView, now: datetime) -> datetime | None:
    """Of the newest event; one of the future does not count, for the present must be served too."""
    row = session.execute(_NEWEST, (view.name,)).fetchone()
    if view.tile is None or row is None or row[0] is None:
        return None
    return retention_floor.wanted(view, min(row[0], now))


@contextlib.contextmanager
def _alone(session: Connection[Any], view: FeatureView) -> Iterator[None]:
    """A lock of this connection: when that is lost, so are the lock and whatever was not committed over it."""
    if isinstance(session, BoundedConnection) and session.pooled:
        raise ConfigError("A view can't be compacted through pgbouncer, which gives a lock to whoever comes next.")
    name = (f"clearwell compact {view.name}",)
    if session.execute(_TAKE, name).fetchone() != (True,):
        raise Retryable(f'Somebody compacts the view "{view.name}" now: try again in a minute.')
    try:
        yield
    finally:
        if not session.broken:
            session.execute(_GIVE_BACK, name)


class ViewUpkeep:
    """Of one view, by one of its deliverers."""

    def __init__(self, view: FeatureView, root: Folder, every: int) -> None:
        self._view = view
        self._root = root
        self._every = every
        self._commits = 0
        self._block = 0

    def is_due(self) -> bool:
        """To be asked after each commit: whether it is time again."""
        self._commits += 1
        if not self._every or self._commits < self._every:
            return False
        self._commits = 0
        return True

    def tidy(self, session: Connection[Any], now: datetime) -> None:
        """As `compact`, of so many tiles as don't keep the writing waiting."""
        done = compact(session, self._root, self._view, now, first=self._block, steps=_STEPS)
        self._block = done.block
        log.info(
            "compacted %s: %d files became %d, %d tiles are gone", self._view.name, done.removed, done.added, done.tiles
        )


def pace(env: Mapping[str, str] = os.environ) -> int:
    """CLEARWELL_FEATURES_COMPACT_EVERY. Raises ConfigError when it is no whole number."""
    text = env.get("CLEARWELL_FEATURES_COMPACT_EVERY") or str(EVERY)
    if not text.isdecimal():
        raise ConfigError(f"CLEARWELL_FEATURES_COMPACT_EVERY must be a whole number, 0 or more, not {text!r}.")
    return int(text)

"""What changes a Delta table's files and none of its rows: planned by a look at its log, then carried out.

Who began it is audited before it begins: it may take hours, and no transaction of the registry is kept open as long.
Writers go on meanwhile, so that a plan is no promise of numbers; the result has those.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from clearwell.control.lake import find_table
from clearwell.control.platform import Actor, Platform
from clearwell.destinations.lake import compaction, tables
from clearwell.registry import audit


class TableCompactionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Of `files`, the `small` ones would be joined. `lake`: the name of a registered lake."""

    table: str
    lake: str | None
    files: int
    small: int


class VacuumPlan(msgspec.Struct, frozen=True, kw_only=True):
    """So many `files` that no version of the last `older` needs would be deleted."""

    table: str
    lake: str | None
    older: timedelta
    full: bool
    force: bool
    files: int


class TableMaintenance(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: files `removed` from the newest version or deleted for good, and `added`."""

    table: str
    removed: int
    added: int


def plan_compact(platform: Platform, table: str, lake: str | None = None) -> TableCompactionPlan:
    """Join small files, day by day. Raises ConfigError with the nearest name."""
    info = tables.info_of(table, tables.open_table(find_table(platform, table, lake)))
    return TableCompactionPlan(table=table, lake=lake, files=info.files, small=info.small)


def plan_vacuum(
    platform: Platform,
    table: str,
    lake: str | None = None,
    *,
    older: timedelta = tables.RETENTION,
    full: bool = False,
    force: bool = False,
) -> VacuumPlan:
    """Delete files that only versions older than `older` need; `full` lists the whole table for it.

    Raises ConfigError (code "retention_too_short") when that is less than a week and not by `force`.
    """
    location = find_table(platform, table, lake)
    files = tables.vacuum(location, older, dry_run=True, full=full, force=force)
    return VacuumPlan(table=table, lake=lake, older=older, full=full, force=force, files=len(files))


def apply(platform: Platform, actor: Actor, plan: TableCompactionPlan | VacuumPlan) -> TableMaintenance:
    """Carry a plan out. Blocks. Raises ConfigError, and Retryable where the store is not well or another compacts."""
    location = find_table(platform, plan.table, plan.lake)
    action = "compact" if isinstance(plan, TableCompactionPlan) else "vacuum"
    with platform.changing(actor) as session:
        detail = {"older_seconds": plan.older.total_seconds()} if isinstance(plan, VacuumPlan) else {}
        audit.record(session, action, f"lake{(plan.lake and f'.{plan.lake}') or ''}/{plan.table}", detail)
    if isinstance(plan, TableCompactionPlan):
        done = compaction.compact(location)
        return TableMaintenance(table=plan.table, removed=done.removed, added=done.added)
    gone = tables.vacuum(location, plan.older, dry_run=False, full=plan.full, force=plan.force)
    return TableMaintenance(table=plan.table, removed=len(gone), added=0)

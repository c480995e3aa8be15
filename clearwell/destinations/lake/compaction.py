"""Joins a table's small files, one compaction of a table at a time; writers go on meanwhile.

deltalake 1.6.6 does not notice that two compactions join the same files (it lets commits without a change of data
pass, delta-io/delta-rs#3982): both commit, and rows are there twice (measured: 80 to 212 rows of 30). So whoever
compacts takes a lease first. It is an application transaction of the table, the time it ends; two who take it at once
conflict, and one of them wins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deltalake import CommitProperties, DeltaTable, Transaction

from clearwell.destinations.lake.root import TableLocation
from clearwell.destinations.lake.tables import TARGET, insist
from clearwell.errors import Retryable

LEASE = "clearwell.compaction"
"""The app id; its number is when the lease ends, in ms since 1970, or 0."""

LEASE_TIME = timedelta(hours=6)
"""Longer than any compaction takes: one that outlives its lease could double rows. Who died holds it as long."""


@dataclass(frozen=True, slots=True)
class TableCompaction:
    """Files before and after."""

    removed: int
    added: int


def compact(location: TableLocation) -> TableCompaction:
    """Join small files, day by day.

    Raises Retryable, also while somebody else compacts, ConfigError or Fatal.
    """
    with _lease(location):
        return insist(location, "compact it", _compact)


def _compact(table: DeltaTable) -> TableCompaction:
    done = table.optimize.compact(target_size=TARGET)
    return TableCompaction(int(done["numFilesRemoved"]), int(done["numFilesAdded"]))


@contextmanager
def _lease(location: TableLocation) -> Iterator[None]:
    ours = int((time.time() + LEASE_TIME.total_seconds()) * 1000)

    def take(table: DeltaTable) -> None:
        held = table.transaction_version(LEASE) or 0
        if held > time.time() * 1000:
            until = datetime.fromtimestamp(held / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise Retryable(
                f"Somebody compacts {location.shown}, or died over it: try again, at {until} at the latest."
            )
        _set(table, ours)

    def give_back(table: DeltaTable) -> None:
        if table.transaction_version(LEASE) == ours:
            _set(table, 0)

    insist(location, "take its compaction over", take)
    try:
        yield
    finally:
        insist(location, "end its compaction", give_back)


def _set(table: DeltaTable, number: int) -> None:
    properties = CommitProperties(app_transactions=[Transaction(LEASE, number)])
    by = table.metadata().partition_columns
    table.create_write_transaction([], "append", table.schema(), partition_by=by, commit_properties=properties)

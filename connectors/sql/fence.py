"""Transactions of a PostgreSQL server that may still bring rows which lie behind what others have committed.

A serial number and a time are handed out before their row can be seen. Whoever got a smaller one may commit later. So a
read goes only as far as was handed out at a moment at which it noted who was under way, and waits until all of these
have ended; transactions that begin later get larger values. `pg_locks` tells of them to every user.
"""

from __future__ import annotations

import logging
import time

from sqlalchemy import Connection, text

from clearwell.errors import Retryable

log = logging.getLogger(__name__)

READER_SECONDS = 30.0
"""A transaction that has not written by then is not waited for any longer: most only read."""

WRITER_SECONDS = 300.0
"""After that the connector says that it can't get on."""

_IN_RECOVERY = text("SELECT pg_is_in_recovery()")
_RUNNING = text(
    """
SELECT l.virtualtransaction,
       bool_or(l.locktype = 'transactionid'
               OR l.locktype = 'relation' AND l.database = d.oid AND l.mode IN ('RowExclusiveLock', 'ExclusiveLock',
                   'ShareRowExclusiveLock', 'AccessExclusiveLock'))
FROM pg_locks l
JOIN pg_database d ON d.datname = current_database()
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.mode <> 'AccessShareLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND (l.locktype IN ('virtualxid', 'transactionid') AND l.mode = 'ExclusiveLock' OR l.locktype = 'relation')
  AND (a.datid IS NULL OR a.datid = d.oid)
  AND (l.pid IS NOT NULL OR l.locktype = 'relation' OR EXISTS (
      SELECT FROM pg_prepared_xacts p WHERE p.transaction = l.transactionid AND p.database = d.datname))
  AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
GROUP BY 1
"""
)


class Fence:
    """Those who were under way when it was made."""

    def __init__(self, connection: Connection) -> None:
        """Notes them."""
        self._left = running(connection)
        self._since = time.monotonic()

    def is_open(self, connection: Connection, whole: bool) -> bool:
        """Whether nobody is left who may bring an earlier row.

        `whole`: also those count who have not written yet (a time may be that of their beginning). Raises Retryable
        when one that writes does not end.
        """
        now = running(connection) if self._left else {}
        self._left = {name: now[name] for name in self._left if name in now}
        waited = time.monotonic() - self._since
        writers = sum(self._left.values())
        if writers and waited > WRITER_SECONDS:
            raise Retryable(
                f"Rows are held back by {writers} transactions of the database that have been writing for over "
                f"{WRITER_SECONDS:.0f} s and may bring earlier ones: end them, or wait."
            )
        if whole and waited > READER_SECONDS and len(self._left) > writers:
            log.warning("transactions that have not written for %.0f s are not waited for any longer", waited)
            self._left = {name: True for name, writes in self._left.items() if writes}
        return not writers and (not whole or not self._left)


def running(connection: Connection) -> dict[str, bool]:
    """Transactions under way in this database, prepared ones too, and whether each writes."""
    return {name: bool(writes) for name, writes in connection.execute(_RUNNING)}


def can_tell(connection: Connection) -> bool:
    """Whether the server knows its writers: a standby does not."""
    return not connection.execute(_IN_RECOVERY).scalar_one()

"""Positions of destinations that can't keep any beside the events: in the platform's Postgres (invariant 4).

What is given away goes by `is_written`, then `advance`: two owners at once may both give an event, but never skip one.
Whoever gives an event has given all before it, so a receiver which drops repeats sees each event once and in order.
What is written into a store that can be asked goes by `moving`, which keeps other owners out meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import errors

from clearwell.destinations.postgres import errors as postgres_errors
from clearwell.destinations.postgres import positions as postgres_positions
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start
from clearwell.postgres_connection import LIMITS, BoundedConnection

LOCK_SECONDS = 120
"""How long an owner that hangs in the middle of a write keeps others out of its partition."""

_LIMITS = LIMITS | {"idle_in_transaction_session_timeout": f"{LOCK_SECONDS}s"}


class PlatformPositions:
    """The positions of one group. Connects when it has to; errors are those of `Destination`."""

    def __init__(self, dsn: str, group: str) -> None:
        """Does no I/O. Raises ConfigError when `dsn` can't be read."""
        self._server = postgres_errors.where(dsn)
        self._dsn, self._group = dsn, group
        self._session: BoundedConnection | None = None

    def create(self) -> None:
        """Make the table where it is missing."""
        with self._talking("make or read the table of positions") as session, session.transaction():
            postgres_positions.create_positions(session)

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """A new epoch. Raises Fenced when `generation` is older than one that was seen."""
        with self._talking(f"claim partition {partition}") as session:
            return postgres_positions.claim(session, self._group, topic_id, partition, generation)

    def is_written(self, batch: CleanBatch) -> bool:
        """Whether the position is behind the batch already. Raises Fenced when somebody else owns the partition."""
        with self._talking(f"look up {batch.coordinates()}") as session:
            return postgres_positions.is_written(session, self._group, batch)

    def advance(self, batch: CleanBatch) -> None:
        """Move behind the batch, and count it. Raises Fenced when somebody else owns the partition."""
        with self._talking(f"note {batch.coordinates()}") as session:
            postgres_positions.advance(session, self._group, batch)

    @contextlib.contextmanager
    def moving(self, batch: CleanBatch) -> Iterator[bool]:
        """Move behind the batch where the context ends well; True: it was not written yet, and may be now.

        Until then no other owner can claim the partition, for LOCK_SECONDS at most: a store that is written inside has
        one writer a partition. Raises Fenced when somebody else owns the partition.
        """
        with self._talking(f"note {batch.coordinates()}") as session, session.transaction():
            if session.pooled:
                session.set_limits(_LIMITS)
            yield postgres_positions.advance(session, self._group, batch)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever claimed."""
        with (
            self._talking("read the positions") as session,
            contextlib.suppress(errors.UndefinedTable, errors.InvalidSchemaName),
        ):
            return postgres_positions.accounts(session, self._group, topic_id)
        return []

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """In one transaction; it waits for a write that is under way, for LOCK_SECONDS at most."""
        with self._talking("set the positions back") as session, session.transaction():
            for start in starts:
                postgres_positions.rewind(session, self._group, topic_id, start)

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(psycopg.Error):
                session.close()

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[BoundedConnection]:
        if self._session is None:
            try:
                self._session = BoundedConnection.open(self._dsn)
                if not self._session.pooled:
                    self._session.set_limits(_LIMITS)
            except psycopg.Error as error:
                self.close()
                raise postgres_errors.on_connect(error, self._server, self._dsn) from None
        try:
            yield self._session
        except psycopg.Error as error:
            self.close()
            raise postgres_errors.on_statement(error, self._server, doing) from None

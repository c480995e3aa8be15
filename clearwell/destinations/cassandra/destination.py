"""Cassandra: a row a key, each put in or replaced by a conditional statement, then the position.

Not `USING TIMESTAMP`: of two writes with the same event time Cassandra keeps the greater value of each column, so that
the row becomes a mixture of both events; and no int64 holds the raw offset beside the event time. So each row is a
lightweight transaction: a new key takes one, a replaced row two. Rows and position are no transaction; it is still safe
(invariant 4): rows are repeated, never lost, when the process dies in between, and a repeated row changes nothing; a
zombie that passed the fence replaces nothing newer, and can't move the position.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Self

from msgspec import Meta

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.cassandra import positions as cassandra_positions
from clearwell.destinations.cassandra import table as cassandra_table
from clearwell.destinations.cassandra.errors import DRIVER_ERRORS, translate
from clearwell.destinations.cassandra.link import CassandraSession, Found, cluster_of
from clearwell.destinations.cassandra.options import CassandraOptions
from clearwell.destinations.cassandra.rows import TAKEN, row_maker, version_of
from clearwell.destinations.newest import make_newest, replaces
from clearwell.destinations.protocol import (
    Accounts,
    Claim,
    CleanBatch,
    DestinationConfig,
    DestinationContext,
    RowReason,
    RowsRefused,
    Start,
)
from clearwell.destinations.shape import NAME_RULE, check_schema, is_name
from clearwell.egress import require_allowed
from clearwell.errors import ConfigError, Retryable
from clearwell.source import PATH, SECRET

LONGEST_NAME = 48
"""Characters of a table's or keyspace's name, of Cassandra."""

_ROUNDS = 10
"""How often a row is compared again because another writer was at it; a key has one writer but for zombies."""


class CassandraConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which Cassandra, from version 4 on.

    The user needs CREATE, ALTER, SELECT and MODIFY on the keyspace. The table `clearwell_positions` is kept beside
    the streams' tables.
    """

    hosts: Annotated[str, Meta(description="where to find the cluster, parted by commas.")]
    keyspace: Annotated[
        str, Meta(description="where the tables are; you make it, since how many copies there are is your decision.")
    ]
    port: Annotated[int, Meta(description="of CQL.")] = 9042
    user: Annotated[str | None, Meta(description="the login; the password must be a reference.")] = None
    password: Annotated[str | None, SECRET, Meta(description="the login; the password must be a reference.")] = None
    datacenter: Annotated[str | None, Meta(description="the one to talk to; left out, that of the first host.")] = None
    ca: Annotated[
        str | None,
        PATH,
        Meta(
            description="a file of certificates that the nodes' are checked by, for TLS, each of which must name its "
            "node's address; left out, there is no TLS."
        ),
    ] = None

    def __repr__(self) -> str:  # invariant 10
        return f"CassandraConfig(hosts={self.hosts!r}, keyspace={self.keyspace!r})"


class CassandraDestination:
    """One table of one keyspace; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "cassandra"
    Config: ClassVar[type[DestinationConfig]] = CassandraConfig
    Options: ClassVar[type[RouteOptions]] = CassandraOptions
    keeps_history: ClassVar[bool] = False
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = False

    def __init__(self, config: CassandraConfig, schema: CleanSchema, table: str, group: str) -> None:
        """Raises ConfigError when a name or type can't be; does no I/O."""
        for name, what in ((table, "a table"), (config.keyspace, "a keyspace")):
            if not is_name(name) or len(name) > LONGEST_NAME or name == cassandra_positions.TABLE:
                raise ConfigError(f'"{name}" can\'t be the name of {what}: use {NAME_RULE}, and {LONGEST_NAME} here.')
        check_schema(schema, TAKEN)
        self._hosts = [host.strip() for host in config.hosts.split(",") if host.strip()]
        if not self._hosts or not 0 < config.port < 65_536:
            raise ConfigError("`hosts` names no host, or `port` is none: write hosts: host1,host2 and port: 9042.")
        self._server = f"Cassandra at {self._hosts[0]}:{config.port}"
        self._config, self._schema, self._table, self._group = config, schema, table, group
        self._make = row_maker(schema)
        self._insert = cassandra_table.insert_new(schema, table)
        self._replace = cassandra_table.replace_known(schema, table)
        self._link: CassandraSession | None = None

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A registered cluster."""
        return cls(context.config, context.schema, context.options.table or context.schema.stream, context.group)

    def open(self) -> None:
        """Create or widen the table, and make that of the positions where it is missing."""
        with self._talking(f'make or read the table "{self._table}"') as link:
            cassandra_table.prepare(link, self._schema, self._table)
            cassandra_positions.prepare(link)

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """A write of the previous owner that is under way may still add rows; it can't move the position."""
        with self._talking(f"claim partition {partition}") as link:
            return cassandra_positions.claim(link, self._group, topic_id, partition, generation)

    def write(self, batch: CleanBatch) -> None:
        """After Retryable the same batch may be written again: rows that are there already are left as they are."""
        with self._talking(f"write {batch.coordinates()}") as link:
            known = cassandra_positions.behind(link, self._group, batch)
            if known is None:
                return
            if batch.rows:
                self._store(link, self._rows(batch))
            cassandra_positions.advance(link, known, batch)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""
        with self._talking("read the positions") as link:
            return cassandra_positions.accounts(link, self._group, topic_id)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """Partition by partition."""
        with self._talking("set the positions back") as link:
            for start in starts:
                cassandra_positions.rewind(link, self._group, topic_id, start)

    def is_there(self) -> bool:
        """Whether the table is."""
        with self._talking(f'look for the table "{self._table}"') as link:
            return bool(link.columns(self._table))

    def row_count(self) -> int:
        """Counts the table's rows, which reads all of it; 0 when there is no table yet."""
        with self._talking(f'count the rows of "{self._table}"') as link:
            return cassandra_table.count(link, self._table)

    def close(self) -> None:
        """Close the connections."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _store(self, link: CassandraSession, rows: Sequence[Found]) -> None:
        """Put in what is new; replace what is older, while it is what it was when compared."""
        answers = link.run_each(self._insert, [cassandra_table.values_of(row) for row in rows], nulls=False)
        for _ in range(_ROUNDS):
            older = [
                (row, stored)
                for row, stored in zip(rows, answers, strict=True)
                if not stored["[applied]"] and replaces(version_of(row), version_of(stored))
            ]
            if not older:
                return
            rows = [row for row, _ in older]
            answers = link.run_each(self._replace, [cassandra_table.values_of(*both) for both in older])
        raise Retryable(f"{self._server}: another writer changes the same rows.")

    def _rows(self, batch: CleanBatch) -> Sequence[Found]:
        try:
            rows = make_newest(batch, self._schema, self._make)
        except ValueError:
            raise RowsRefused(
                RowReason.WRONG_TYPE, f"A list holds a null, or json no Unicode, in {batch.coordinates()}."
            ) from None
        if any(row[name] is None for row in rows for name in self._schema.key):
            raise RowsRefused(RowReason.CONSTRAINT, f"A row has no key in {batch.coordinates()}.")
        return rows

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[CassandraSession]:
        """The connection; what the driver raises becomes ours.

        A connection that failed is given up: the driver would wait longer and longer before it tries again.
        """
        try:
            if self._link is None:
                self._link = self._connect()
            yield self._link
        except DRIVER_ERRORS as error:
            ours = translate(error, self._server, doing)
            if not isinstance(ours, RowsRefused):
                self.close()
            raise ours from None

    def _connect(self) -> CassandraSession:
        config = self._config
        for host in self._hosts:
            require_allowed(host, config.port)
        return CassandraSession(
            cluster_of(self._hosts, config.port, config.user, config.password, config.datacenter, config.ca),
            config.keyspace,
        )

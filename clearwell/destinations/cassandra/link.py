"""A connection to a Cassandra cluster, with the manners we need: strict consistency, few retries of its own."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.concurrent import execute_concurrent
from cassandra.policies import DCAwareRoundRobinPolicy, RetryPolicy, TokenAwarePolicy
from cassandra.query import UNSET_VALUE, BoundStatement, PreparedStatement, SimpleStatement, dict_factory

from clearwell.destinations.cassandra.egress import CassandraEgressConnection
from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ConfigError

SECONDS = 60.0
"""How long an answer may take."""

AT_ONCE = 64
"""Statements under way at a time: each one waits for rounds of messages between replicas."""

LARGEST_KEY = 65_535  # bytes, of the server

LARGEST_ROW = 8 * 1024 * 1024
"""Bytes of a row's values. By default servers take half of a `commitlog_segment_size` of 32 MiB; of a larger row a
lightweight transaction says no more than that it has timed out, as of a server that is busy."""

_PROTOCOL = 5  # of every server from 4.0 on; left out, the driver tries others first
_CONNECTING_SECONDS = 10
_RETRIES = 3

# It quotes logins and statements (invariants 9 and 10); what fails becomes our error.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)

_KEYSPACE = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = :space"
_COLUMNS = (
    "SELECT column_name, kind, position, type FROM system_schema.columns "
    "WHERE keyspace_name = :space AND table_name = :name"
)

Found = Mapping[str, Any]


class _Retries:
    """What the driver does by itself: a write that timed out in the server it sends again, some times.

    All of ours are conditional, so that doing one again changes nothing. Without, of a large batch for a slow cluster
    one write or other would time out each time. The deliverer repeats what else fails, with backoff.
    """

    def on_write_timeout(self, *_told: Any, retry_num: int, **_known: Any) -> tuple[int, None]:
        """After the server has waited for its replicas, 2 s by default."""
        return RetryPolicy.RETRY if retry_num < _RETRIES else RetryPolicy.RETHROW, None

    def on_failure(self, *_told: Any, **_known: Any) -> tuple[int, None]:
        """Of any other sort."""
        return RetryPolicy.RETHROW, None

    on_read_timeout = on_unavailable = on_request_error = on_failure


class CassandraSession:
    """One session; tables are those of `keyspace`. Statements are CQL with named places, `:name`, prepared once."""

    def __init__(self, cluster: Cluster, keyspace: str) -> None:
        """Connects; `cluster` is shut down when that fails.

        Raises ConfigError when there is no such keyspace, and what the driver raises.
        """
        self._cluster, self._keyspace = cluster, keyspace
        self._prepared: dict[str, PreparedStatement] = {}
        try:
            self._session = cluster.connect()  # with the keyspace, one that is missing would look like a dead server
            if not list(self._session.execute(self._session.prepare(_KEYSPACE), {"space": keyspace})):
                raise ConfigError(f'Cassandra has no keyspace "{keyspace}": make it, with the replication you want.')
        except BaseException:
            cluster.shutdown()
            raise

    def columns(self, table: str) -> dict[str, Found]:
        """Those of a table by name, each with its kind, position and type; none where there is no such table."""
        rows = self.run(_COLUMNS, {"space": self._keyspace, "name": table})
        return {column["column_name"]: column for column in rows}

    def run(self, cql: str, values: Found | None = None, serial: bool = False, seconds: float = SECONDS) -> list[Found]:
        """The rows of a statement; a `serial` read sees conditional writes that are still under way."""
        bound = self._statement(cql).bind(dict(values or {}))
        if serial:
            bound.consistency_level = ConsistencyLevel.SERIAL
        return list(self._session.execute(bound, timeout=seconds))

    def define(self, cql: str) -> None:
        """A statement that changes the schema; waits until all nodes know of it."""
        self._session.execute(SimpleStatement(cql, keyspace=self._keyspace), timeout=SECONDS)

    def run_each(self, cql: str, rows: Sequence[Found], nulls: bool = True) -> list[Found]:
        """The answer of a conditional statement for each row. Without `nulls` what is null is left as it is.

        Raises RowsRefused when a value or a key can't be in Cassandra; nothing is sent then.
        """
        statement = self._statement(cql)
        bound = [(_bound(statement, row, nulls), None) for row in rows]
        answers = execute_concurrent(self._session, bound, concurrency=AT_ONCE, raise_on_first_error=True)
        return [answer.one() for _, answer in answers]

    def close(self) -> None:
        """End it."""
        self._cluster.shutdown()

    def _statement(self, cql: str) -> PreparedStatement:
        if cql not in self._prepared:
            self._prepared[cql] = self._session.prepare(cql, keyspace=self._keyspace)
        return self._prepared[cql]


def cluster_of(
    hosts: Sequence[str], port: int, user: str | None, password: str | None, datacenter: str | None, ca: str | None
) -> Cluster:
    """Does no I/O but reading `ca`. Raises ConfigError when that is no file of certificates."""
    local = DCAwareRoundRobinPolicy(local_dc=datacenter) if datacenter else DCAwareRoundRobinPolicy()
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(local),
        retry_policy=_Retries(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.SERIAL,
        request_timeout=SECONDS,
        row_factory=dict_factory,
    )
    cluster = Cluster(
        list(hosts),
        port=port,
        protocol_version=_PROTOCOL,
        auth_provider=None if user is None else PlainTextAuthProvider(user, password or ""),
        ssl_context=None if ca is None else _tls(ca),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=_CONNECTING_SECONDS,
        control_connection_timeout=_CONNECTING_SECONDS,
    )
    cluster.connection_class = CassandraEgressConnection
    return cluster


def _tls(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError:  # ssl.SSLError is one
        raise ConfigError("`ca` is no file of certificates: give the path of a PEM file.") from None


def _bound(statement: PreparedStatement, row: Found, nulls: bool) -> BoundStatement:
    values = {name: UNSET_VALUE if value is None and not nulls else value for name, value in row.items()}
    try:
        bound: BoundStatement = statement.bind(values)
        key: bytes = bound.routing_key or b""
    except (TypeError, ValueError, ArithmeticError):  # quotes the value
        raise RowsRefused(RowReason.WRONG_TYPE, "A value does not fit the type of its column in Cassandra.") from None
    if not 0 < len(key) <= LARGEST_KEY:
        raise RowsRefused(RowReason.CONSTRAINT, "A key is empty or longer than Cassandra takes.")
    if sum(len(value) for value in bound.values if isinstance(value, bytes)) > LARGEST_ROW:
        raise RowsRefused(RowReason.TOO_LARGE, f"A row has more than {LARGEST_ROW} bytes.")
    return bound

"""Every connection to PostgreSQL that Clearwell makes: each call on it ends, and poolers in between are noticed.

libpq's keepalives and `tcp_user_timeout` notice packets that are dropped; nothing of libpq's notices a proxy that
acknowledges and never answers, so each wait has a deadline of our own as well (invariant 12).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

from clearwell.deadline import call_seconds
from clearwell.egress import reachable
from clearwell.errors import ConfigError

Result = TypeVar("Result")

DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq options where an address doesn't set them (seconds; the last in milliseconds): a dead network is noticed."""

LIMITS: dict[str, str] = {"statement_timeout": "50s", "idle_in_transaction_session_timeout": "60s"}
"""What the server is to end by itself, a little before we do: then it says why, and lets go of its locks."""

_IDLE_INTERVAL = 0.1  # psycopg's own: how often a wait looks for Ctrl-C


class NoAnswer(psycopg.OperationalError):
    """The server took a call and did not answer within `seconds`; the connection is given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer for {seconds:g} s")
        self.seconds = seconds


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose waits end after `seconds`, by NoAnswer.

    `pooled`: a pooler is in between (pgbouncer in transaction mode, or one that may be): what is set for a session, and
    its temporary tables, may be another's at the next transaction.
    """

    seconds: float = 60.0
    pooled: bool = False

    def wait(self, gen: PQGen[Result], interval: float = _IDLE_INTERVAL, timeout: float | None = None) -> Result:
        """As psycopg's; a `timeout` of its caller's is left to it."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # else psycopg would roll back, and wait as long once more
            raise NoAnswer(self.seconds) from None

    @classmethod
    def open(cls, dsn: str, seconds: float | None = None, *, judged: bool = False, **options: Any) -> Self:
        """Connect in autocommit mode; `options` are libpq's, over DEFAULTS and under what `dsn` says.

        `seconds` bounds each call (None: the setting); `judged`: only to addresses that may be reached. Raises what
        psycopg raises and, when judged, as `pinned`.
        """
        told = conninfo_to_dict(dsn)
        parameters = {name: value for name, value in (DEFAULTS | options).items() if name not in told} | told
        session = cls.connect(autocommit=True, **(pinned(parameters) if judged else parameters))
        session.seconds = call_seconds() if seconds is None else seconds
        try:
            session.notice_pooler()
        except BaseException:
            session.close()
            raise
        return session

    def notice_pooler(self) -> None:
        """A pooler gives its clients process ids of its own. Nothing is prepared then: it would be another session's.

        Raises psycopg.Error.
        """
        self.prepare_threshold, prepared = None, self.prepare_threshold
        row = self.execute("SELECT pg_backend_pid()").fetchone()
        self.pooled = row is None or row[0] != self.info.backend_pid
        if not self.pooled:
            self.prepare_threshold = prepared

    def set_limits(self, limits: Mapping[str, str] = LIMITS) -> None:
        """Set what nobody else has set (0), for the session or, through a pooler, for the transaction that is open."""
        for name, value in limits.items():
            self.execute(
                "SELECT set_config(%s, %s, %s) WHERE current_setting(%s) IN ('0', '')", (name, value, self.pooled, name)
            )


def pinned(options: Mapping[str, Any]) -> dict[str, Any]:
    """libpq's options with the addresses that its hosts resolve to now and that may be reached, and no others.

    The names stay beside them, for certificates. Raises ConfigError where none may be reached or a file says where to
    connect to, Retryable where a name can't be resolved.
    """
    if options.get("service"):
        raise ConfigError("The Postgres URL names a `service`: write host, port and database instead.")
    hosts = str(options.get("host") or "").split(",")
    numbers = str(options.get("hostaddr") or "").split(",")
    ports = str(options.get("port") or "").split(",")
    places: list[tuple[str, str, str]] = []
    for index in range(max(len(hosts), len(numbers))):
        host, number = hosts[index % len(hosts)], numbers[index % len(numbers)]
        port = ports[index % len(ports)] or "5432"
        if not number and (not host or host.startswith(("/", "@"))):
            places.append((host, "", port))  # a socket of this machine
            continue
        addresses = reachable(number or host, int(port) if port.isdecimal() else 5432)
        places += [(host or address, address, port) for address in addresses]
    names = ("host", "hostaddr", "port")
    return {**options, **dict(zip(names, (",".join(part) for part in zip(*places, strict=True)), strict=True))}


def unanswered(error: BaseException | None) -> NoAnswer | None:
    """The NoAnswer that `error` is, or that came before it: a COPY that ends by one raises another."""
    while error is not None:
        if isinstance(error, NoAnswer):
            return error
        error = error.__context__
    return None

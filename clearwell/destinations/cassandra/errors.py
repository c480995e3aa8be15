"""What an error of the Cassandra driver means for us, in one place.

Its words never go into a message: they quote statements and values (invariant 9). The class of the error does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cassandra import (
    AuthenticationFailed,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    RequestExecutionException,
    Unauthorized,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException, ProtocolVersionUnsupported
from cassandra.protocol import ErrorMessage, SyntaxException

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Retryable

DRIVER_ERRORS = (DriverException, ErrorMessage, NoHostAvailable, ConnectionException)
"""Everything the driver raises on purpose; they have no common base."""

_TOO_LARGE = re.compile(r"too large|longer than maximum|Guardrail (column_value|collection|items_per_collection)")


def translate(error: Exception, server: str, doing: str) -> ClearwellError:
    """What to raise when a call failed; `doing` says what for ("write partition 3, offsets up to 900")."""
    causes = _causes(error)
    name = type(causes[0]).__name__

    def any_is(*kinds: type[Exception]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if any_is(AuthenticationFailed):
        return ConfigError(f"{server} refuses the user or the password: correct them.")
    if any(
        isinstance(cause, OSError) and "[SSL" in str(cause) for cause in causes
    ):  # the driver makes a new OSError of it
        return ConfigError(
            f"{server} and this program can't agree on TLS: check `ca`, that the port is for TLS, and that each node's "
            "certificate names its address."
        )
    if any_is(Unauthorized):
        return ConfigError(
            f"{server} does not let this user {doing}: grant it CREATE, ALTER, SELECT and MODIFY on the keyspace."
        )
    if any_is(InvalidRequest):
        return _invalid(str(causes[0]), server, doing)
    if any_is(SyntaxException, ProtocolVersionUnsupported):
        return ConfigError(f"{server} does not speak as Clearwell does ({name}): is it Cassandra 4 or later?")
    if any_is(RequestExecutionException, OperationTimedOut):
        return Retryable(f"{server} is not well ({name}) where Clearwell was to {doing}.")
    return Retryable(f"{server} does not answer ({name}): start it, or correct its hosts, port and datacenter.")


def _invalid(text: str, server: str, doing: str) -> ClearwellError:
    if _TOO_LARGE.search(text):
        return RowsRefused(RowReason.TOO_LARGE, f"{server} refuses a row that is larger than it takes, on {doing}.")
    return ConfigError(f"{server} can't {doing}: a table is not as Clearwell made it. Put it right, then start again.")


def _causes(error: Exception) -> list[Exception]:
    """What each host said, where that is known; else the error itself."""
    hosts = getattr(error, "errors", None)
    said = [host for host in hosts.values() if isinstance(host, Exception)] if isinstance(hosts, Mapping) else []
    return said or [error]
